//! The topics: names, keys and settings. Partition counts never change after creation, since a
//! key would move to another partition.

/// Partitions of a topic where nothing else is configured.
pub const PARTITIONS: i32 = 12;

/// A topic of the backbone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Batches, keyed by store.
    StoreMinutes,
    /// Status records, keyed by store, compacted.
    StoreStatus,
    /// Purchases and consents of customers, keyed by pseudonym.
    Loyalty,
    /// Orders placed, keyed by store.
    Reorders,
    /// Weather, events, competitors' prices, keyed by source.
    Context,
    /// Prices and offers down to the stores, keyed by store or `*`, compacted.
    PriceOffers,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 6] = [
        Self::StoreMinutes,
        Self::StoreStatus,
        Self::Loyalty,
        Self::Reorders,
        Self::Context,
        Self::PriceOffers,
    ];

    /// Returns the name behind the prefix.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::StoreMinutes => "store-minutes.v1",
            Self::StoreStatus => "store-status.v1",
            Self::Loyalty => "loyalty.v1",
            Self::Reorders => "reorders.v1",
            Self::Context => "context.v1",
            Self::PriceOffers => "price-offers.v1",
        }
    }

    /// Returns the full name, such as `frischmarkt.store-minutes.v1` for the prefix `frischmarkt.`.
    pub fn name(self, prefix: &str) -> String {
        format!("{prefix}{}", self.suffix())
    }

    /// Returns the topic's settings as Kafka names them. Records carry the broker's append time: a
    /// store's wrong clock must neither be refused nor make retention delete a backfill.
    pub fn settings(self) -> Vec<(&'static str, &'static str)> {
        const DAYS_30: &str = "2592000000";
        const DAYS_366: &str = "31622400000";
        let mut settings =
            vec![("compression.type", "zstd"), ("message.timestamp.type", "LogAppendTime")];
        settings.extend(match self {
            Self::StoreMinutes | Self::Loyalty => {
                [("cleanup.policy", "delete"), ("retention.ms", DAYS_30)].as_slice()
            }
            Self::Reorders | Self::Context => {
                [("cleanup.policy", "delete"), ("retention.ms", DAYS_366)].as_slice()
            }
            Self::StoreStatus | Self::PriceOffers => [("cleanup.policy", "compact")].as_slice(),
        });
        settings
    }

    /// Returns true where a store may write to the topic.
    pub fn written_by_stores(self) -> bool {
        match self {
            Self::StoreMinutes | Self::StoreStatus | Self::Loyalty => true,
            Self::Reorders | Self::Context | Self::PriceOffers => false,
        }
    }
}

/// Returns the principal name of a store: its certificate's common name.
pub fn store_principal(store: &crate::ids::StoreId) -> String {
    format!("store-{store}")
}
