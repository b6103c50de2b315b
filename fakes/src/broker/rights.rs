//! Who may do what on the broker, as a list. Pure: it says, and `admin` grants.

use shared::ids::StoreId;
use shared::topics::{Topic, store_principal};

/// The prefix of the topics in use.
pub const PREFIX: &str = "frischmarkt.";
/// The prefix of the topics that tests make for themselves.
pub const TEST_PREFIX: &str = "test.";
/// The prefix of the centre's consumer groups.
pub const CENTRAL_GROUPS: &str = "central";

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// A topic of exactly this name.
    Topic,
    /// All topics that begin so.
    TopicsBeginning,
    /// All consumer groups that begin so.
    GroupsBeginning,
}

/// What a right allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Consume, or be a member of a group.
    Read,
    /// Produce.
    Write,
    /// See that it exists.
    Describe,
}

/// One principal may do one thing with one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// The common name of the certificate.
    pub principal: String,
    /// The kind of the resource.
    pub resource: Resource,
    /// Its name or beginning.
    pub name: String,
    /// What is allowed.
    pub operation: Operation,
}

const READ: &[Operation] = &[Operation::Read, Operation::Describe];
const WRITE: &[Operation] = &[Operation::Write, Operation::Describe];
const BOTH: &[Operation] = &[Operation::Read, Operation::Write, Operation::Describe];

/// Returns the rights of a store: it writes what stores write and reads its prices.
pub fn of_store(store: &StoreId) -> Vec<Right> {
    let mut rights = Rights::of(&store_principal(store));
    for topic in Topic::ALL.into_iter().filter(|topic| topic.written_by_stores()) {
        rights.allow(WRITE, Resource::Topic, &topic.name(PREFIX));
    }
    rights.allow(READ, Resource::Topic, &Topic::PriceOffers.name(PREFIX));
    rights.list
}

/// Returns the rights of the centre and of the fakes.
pub fn of_services() -> Vec<Right> {
    let mut central = Rights::of("central");
    central.allow(READ, Resource::TopicsBeginning, PREFIX);
    central.allow(READ, Resource::GroupsBeginning, CENTRAL_GROUPS);
    central.allow(WRITE, Resource::Topic, &Topic::Reorders.name(PREFIX));
    let mut fakes = Rights::of("fakes");
    fakes.allow(BOTH, Resource::TopicsBeginning, PREFIX);
    fakes.allow(READ, Resource::GroupsBeginning, "fakes");
    [central.list, fakes.list].concat()
}

/// Returns what these stores and the services may do besides on the topics that tests make.
pub fn in_tests(stores: &[StoreId]) -> Vec<Right> {
    let mut all = Vec::new();
    for store in stores {
        let mut rights = Rights::of(&store_principal(store));
        rights.allow(WRITE, Resource::TopicsBeginning, TEST_PREFIX);
        all.extend(rights.list);
    }
    for principal in ["central", "fakes"] {
        let mut rights = Rights::of(principal);
        rights.allow(BOTH, Resource::TopicsBeginning, TEST_PREFIX);
        rights.allow(READ, Resource::GroupsBeginning, TEST_PREFIX);
        all.extend(rights.list);
    }
    all
}

struct Rights {
    principal: String,
    list: Vec<Right>,
}

impl Rights {
    fn of(principal: &str) -> Self {
        Self { principal: principal.to_owned(), list: Vec::new() }
    }

    fn allow(&mut self, operations: &[Operation], resource: Resource, name: &str) {
        for &operation in operations {
            let (principal, name) = (self.principal.clone(), name.to_owned());
            self.list.push(Right { principal, resource, name, operation });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_may_write_only_what_stores_write_and_read_only_prices() {
        let rights = of_store(&StoreId::new("0417").unwrap());
        let named = |operation| {
            let mut names: Vec<_> = rights
                .iter()
                .filter(|right| right.operation == operation)
                .map(|right| right.name.as_str())
                .collect();
            names.sort_unstable();
            names
        };
        assert_eq!(named(Operation::Read), ["frischmarkt.price-offers.v1"]);
        assert_eq!(
            named(Operation::Write),
            [
                "frischmarkt.loyalty.v1",
                "frischmarkt.store-minutes.v1",
                "frischmarkt.store-status.v1"
            ]
        );
        assert!(rights.iter().all(|right| right.principal == "store-0417"));
        assert!(rights.iter().all(|right| right.resource == Resource::Topic));
    }

    #[test]
    fn the_centre_writes_nothing_but_reorders() {
        let written: Vec<_> = of_services()
            .into_iter()
            .filter(|right| right.principal == "central" && right.operation == Operation::Write)
            .map(|right| right.name)
            .collect();
        assert_eq!(written, ["frischmarkt.reorders.v1"]);
    }
}
