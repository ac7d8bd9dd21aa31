//! The guard against functions that invoke themselves through others: how often each function
//! stands in a chain of requests, as `Lineage` of the trace header tells.
//!
//! A runtime gives its trace header to the function (`_X_AMZN_TRACE_ID`), and AWS's SDKs send it
//! along when the function calls Lambda. So the service adds the function to the header of each
//! invocation: `Lineage=a87bd80c:1|68fd508a:5`, a hash and a count for each function, as AWS writes
//! it. Records that go to a function as a destination carry the header of the invocation on.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html>
//!
//! It guards against accidents only: who leaves the header out starts a new chain.

use std::fmt::Write as _;

/// How often a function may be invoked in one chain.
pub const INVOCATIONS_MAX: u32 = 16;
/// Functions that are counted; of a longer chain those that came first.
const FUNCTIONS_MAX: usize = 32;
const FIELD: &str = "Lineage=";

/// How often this function, named by region and name, stands in the chain already.
pub fn count(trace: &str, function: (&str, &str)) -> u32 {
    let hash = hash(function);
    entries(trace).filter(|(one, _)| *one == hash).map(|(_, count)| count).max().unwrap_or(0)
}

/// The trace header of an invocation of this function by a request with that header.
pub fn extended(trace: &str, function: (&str, &str)) -> String {
    let hash = hash(function);
    let mut chain: Vec<(u32, u32)> = entries(trace).take(FUNCTIONS_MAX).collect();
    match chain.iter_mut().find(|(one, _)| *one == hash) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => chain.push((hash, 1)),
    }
    // It is the newest that goes.
    chain.truncate(FUNCTIONS_MAX);
    let mut out = String::with_capacity(trace.len() + 12 + 12 * chain.len());
    out.push_str(&fresh(trace));
    out.push(';');
    out.push_str(FIELD);
    for (index, (hash, count)) in chain.iter().enumerate() {
        let between = if index > 0 { "|" } else { "" };
        let _ = write!(out, "{between}{hash:08x}:{count}");
    }
    out
}

/// The trace header of the first request of a chain.
pub fn fresh(trace: &str) -> String {
    let fields = trace.split(';').filter(|field| !field.trim_start().starts_with(FIELD));
    fields.collect::<Vec<_>>().join(";")
}

/// Hashes and counts. AWS writes a number in front of a single one by now: `1:a87bd80c:5`.
fn entries(trace: &str) -> impl Iterator<Item = (u32, u32)> {
    let mut fields = trace.split(';');
    let chain = fields.find_map(|field| field.trim_start().strip_prefix(FIELD));
    chain.unwrap_or_default().split('|').filter_map(|entry| {
        let mut parts = entry.trim_end().rsplitn(3, ':');
        let (count, hash) = (parts.next()?, parts.next()?);
        Some((u32::from_str_radix(hash, 16).ok()?, count.parse().ok()?))
    })
}

/// FNV-1a. Two functions of one chain with the same hash would count together, which is harmless.
fn hash((region, name): (&str, &str)) -> u32 {
    let bytes = region.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
    const F: (&str, &str) = ("us-east-1", "f");
    const G: (&str, &str) = ("us-east-1", "g");

    #[test]
    fn a_chain_counts_each_function() {
        let mut trace = ROOT.to_owned();
        for round in 0..20 {
            assert_eq!((count(&trace, F), count(&trace, G)), (round, round));
            trace = extended(&extended(&trace, F), G);
        }
        assert!(trace.starts_with(ROOT), "{trace}");
        assert_eq!(trace.matches(FIELD).count(), 1);
        assert_eq!(fresh(&trace), ROOT);
        assert_eq!(count(&trace, ("eu-west-1", "f")), 0);
    }

    #[test]
    fn awss_own_forms_are_read() {
        let hash = hash(F);
        let old = format!("Root=1-0-0;Lineage=a87bd80c:1|{hash:08x}:5");
        assert_eq!(count(&old, F), 5);
        assert!(extended(&old, F).ends_with(&format!("Lineage=a87bd80c:1|{hash:08x}:6")));
        assert_eq!(count(&format!("Root=1-0-0;Lineage=25:{hash:08x}:3;Sampled=0"), F), 3);
        for none in ["", "Root=1-0-0", "Lineage=", "Lineage=x:y|:|a", "Lineage=1:2:3:4:-5"] {
            assert_eq!(count(none, F), 0, "{none}");
        }
    }

    #[test]
    fn a_long_chain_stays_short() {
        let mut trace = ROOT.to_owned();
        for number in 0..100 {
            trace = extended(&trace, ("us-east-1", &number.to_string()));
        }
        assert!(trace.len() < 600, "{}", trace.len());
        assert_eq!(count(&trace, ("us-east-1", "0")), 1);
    }
}
