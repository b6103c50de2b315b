//! What a shop sells: articles with GTINs, prices, VAT and popularity.

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;
use shared::ids::Article;
use shared::words::Unit;

use super::Country;

/// Popularity falls with this power of the rank: measured in a real store.
const ZIPF: f64 = 0.65;
/// Prices in cents: the twentieths of a lognormal with median 1.59 and sigma 0.70, ending in 9.
const PRICES: [i64; 20] =
    [39, 59, 69, 79, 89, 99, 119, 129, 139, 149, 169, 179, 199, 219, 239, 269, 299, 359, 439, 629];

/// A VAT class: the key as DSFinV-K numbers it and the rate in basis points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VatClass {
    Full,
    Reduced,
}

impl VatClass {
    pub(crate) const ALL: [Self; 2] = [Self::Full, Self::Reduced];

    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Full => "1",
            Self::Reduced => "2",
        }
    }

    pub(crate) fn bp(self) -> u32 {
        match self {
            Self::Full => 1900,
            Self::Reduced => 700,
        }
    }
}

/// An article on the shelf.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) article: Article,
    pub(crate) unit: Unit,
    pub(crate) price_cents: i64,
    pub(crate) vat: VatClass,
    /// Deposit for one piece; 0 where there is none.
    pub(crate) deposit_cents: i64,
}

/// All articles of a shop and how often each is bought.
#[derive(Debug)]
pub struct Assortment {
    items: Vec<Item>,
    popularity: WeightedIndex<f64>,
}

impl Assortment {
    /// Fills the shelves of a country's shop with this many articles, at least one.
    pub fn new(articles: u32, country: Country) -> Self {
        let ranks = 1..=articles.max(1);
        let weights = ranks.clone().map(|rank| f64::from(rank).powf(-ZIPF));
        let popularity = WeightedIndex::new(weights).expect("weights are positive");
        Self { items: ranks.map(|rank| item(rank, country)).collect(), popularity }
    }

    pub(crate) fn pick(&self, dice: &mut ChaCha8Rng) -> &Item {
        &self.items[self.popularity.sample(dice)]
    }
}

/// One in twenty is weighed, one in twenty of the others bears a deposit, one in five has full VAT.
fn item(rank: u32, country: Country) -> Item {
    let mixed = rank.wrapping_mul(2_654_435_761) >> 8;
    let weighed = rank % 20 == 7;
    let drink = rank % 20 == 3;
    let full = drink || (rank % 6 == 1 && !weighed);
    Item {
        article: gtin(u64::from(rank)),
        unit: if weighed { weight(country) } else { Unit::Pieces },
        price_cents: PRICES[mixed as usize % PRICES.len()],
        vat: if full { VatClass::Full } else { VatClass::Reduced },
        deposit_cents: if drink { 25 } else { 0 },
    }
}

/// An American till weighs in pounds, for which there is no word of our own.
fn weight(country: Country) -> Unit {
    match country {
        Country::Germany => Unit::Kilograms,
        Country::America => Unit::new("lb").expect("letters are a word"),
    }
}

/// Returns the article that deposits and empties are booked on.
pub(crate) fn deposit_article() -> Article {
    gtin(99_999)
}

/// Makes a GTIN of 14 digits with its check digit (GS1 General Specifications, section 7.9).
fn gtin(number: u64) -> Article {
    let body = format!("04{:05}{:06}", 12_345, number);
    let weighted = body.bytes().rev().zip([3, 1].into_iter().cycle());
    let sum: u32 = weighted.map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    Article::new(&format!("{body}{}", (10 - sum % 10) % 10)).expect("digits are an article")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gtin_ends_in_its_check_digit() {
        let text = gtin(7);
        assert_eq!(text.as_str().len(), 14);
        let digits = text.as_str().bytes().rev().map(|digit| u32::from(digit - b'0'));
        let sum: u32 = digits.zip([1, 3].into_iter().cycle()).map(|(d, weight)| d * weight).sum();
        assert_eq!(sum % 10, 0);
        assert_ne!(gtin(8), gtin(7));
    }

    #[test]
    fn a_fifth_of_the_articles_bears_full_vat_and_a_twentieth_is_weighed() {
        let items = Assortment::new(1200, Country::Germany).items;
        let full = items.iter().filter(|item| item.vat == VatClass::Full).count();
        let weighed = items.iter().filter(|item| item.unit == Unit::Kilograms).count();
        assert!((180..=300).contains(&full), "{full}");
        assert_eq!(weighed, 60);
    }
}
