//! What a stack remembers between two starts: ports, passwords, stores, the simulated clock. Kept
//! in one file; a second `up` reads it, so that ports and data stay.

use rand::Rng;
use rand::distr::Alphanumeric;
use serde::{Deserialize, Serialize};
use shared::ids::StoreId;

use super::layout::Layout;
use super::spec::StoreSpec;
use crate::error::StackError;
use crate::{files, ports};

/// What a stack is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// To be used: commits are synced.
    Use,
    /// For tests: more rights on topics of their own, no syncing, stores to test with.
    Tests,
}

/// The ports of a stack, all on the loopback address.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ports {
    /// Kafka without a link.
    pub kafka: u16,
    /// Kafka behind the stores' link.
    pub kafka_edge: u16,
    /// Kafka behind the centre's link.
    pub kafka_centre: u16,
    /// Kafka's controller.
    pub kafka_controller: u16,
    /// Postgres without a link.
    pub postgres: u16,
    /// The link from the stores to Kafka.
    pub edge_kafka_link: u16,
    /// The link from the centre to Kafka.
    pub centre_kafka_link: u16,
    /// The link from the centre to Postgres.
    pub centre_postgres_link: u16,
    /// The port on which the links take orders.
    pub link_control: u16,
    /// The port that the centre listens on.
    pub central_http: u16,
    /// The object store.
    pub s3: u16,
}

impl Ports {
    /// Returns ports that are free now.
    pub fn free() -> Result<Self, StackError> {
        let [
            kafka,
            kafka_edge,
            kafka_centre,
            kafka_controller,
            postgres,
            s3,
            e,
            k,
            p,
            control,
            http,
        ] = ports::free()?;
        Ok(Self {
            kafka,
            kafka_edge,
            kafka_centre,
            kafka_controller,
            postgres,
            edge_kafka_link: e,
            centre_kafka_link: k,
            centre_postgres_link: p,
            link_control: control,
            central_http: http,
            s3,
        })
    }
}

/// The remembered state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// What the stack is for.
    pub purpose: Purpose,
    /// Its ports.
    pub ports: Ports,
    /// The broker's cluster id.
    pub cluster_id: String,
    /// The password of Postgres' superuser.
    pub superuser_password: String,
    /// The password of the centre's role.
    pub password: String,
    /// Its stores in the order in which they came.
    pub stores: Vec<StoreSpec>,
}

/// Stores of every stack for tests.
const TEST_STORES: [&str; 12] =
    ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12"];

impl State {
    /// Makes the state of a new stack.
    pub fn new(purpose: Purpose) -> Result<Self, StackError> {
        let mut state = Self {
            purpose,
            ports: Ports::free()?,
            // Kafka's ids are 16 bytes in base64; of the last digit only two bits count.
            cluster_id: format!("{}A", random_text(21)),
            superuser_password: random_text(24),
            password: random_text(24),
            stores: Vec::new(),
        };
        if purpose == Purpose::Tests {
            state.add(&test_stores().map(StoreSpec::plain).collect::<Vec<_>>())?;
        }
        Ok(state)
    }

    /// Reads the state of a stack, or nothing where it has none yet.
    pub fn load(layout: &Layout) -> Result<Option<Self>, StackError> {
        let path = layout.state();
        if !path.exists() {
            return Ok(None);
        }
        let broken = StackError::foreign(format!("{} is no stack's state", path.display()));
        serde_json::from_str(&files::read(&path)?).map_err(broken).map(Some)
    }

    /// Writes the state.
    pub fn save(&self, layout: &Layout) -> Result<(), StackError> {
        let text = serde_json::to_string_pretty(self)
            .map_err(StackError::foreign("the state cannot be written"))?;
        files::write_private(&layout.state(), &text)
    }

    /// Adds the stores that are not there yet and returns them; one that is there in another form
    /// is refused, since its agent may be running.
    pub fn add(&mut self, stores: &[StoreSpec]) -> Result<Vec<StoreId>, StackError> {
        let mut added = Vec::new();
        for store in stores {
            match self.stores.iter().find(|known| known.id == store.id) {
                Some(known) if known == store => {}
                Some(known) => {
                    return Err(StackError::wrong(format!("the stack has {known}, not {store}")));
                }
                None => {
                    added.push(store.id.clone());
                    self.stores.push(store.clone());
                }
            }
        }
        Ok(added)
    }
}

/// Returns the stores that every stack for tests has.
pub fn test_stores() -> impl Iterator<Item = StoreId> {
    TEST_STORES.into_iter().map(|id| StoreId::new(id).expect("the constants are ids"))
}

/// Returns this many random letters and digits.
pub fn random_text(length: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(length).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_added_once_and_never_changed() {
        let mut state = State::new(Purpose::Use).unwrap();
        let store: StoreSpec = "9:poslog/ncr-acs".parse().unwrap();
        let store = [store];
        assert_eq!(state.add(&store).unwrap().len(), 1);
        assert!(state.add(&store).unwrap().is_empty());
        let other = state.add(&["9:jsonl".parse().unwrap()]).unwrap_err();
        assert!(other.to_string().contains("9:poslog/ncr-acs"), "{other}");
        assert_eq!(state.stores.len(), 1);
    }

    #[test]
    fn a_stack_for_tests_has_stores_of_its_own() {
        let state = State::new(Purpose::Tests).unwrap();
        assert_eq!(state.stores.len(), TEST_STORES.len());
        assert_eq!(state.cluster_id.len(), 22);
    }
}
