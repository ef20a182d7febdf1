//! Belady's rule: the object that is asked for again last leaves. Nobody can know that; it bounds what is possible.

use std::collections::{BTreeSet, HashMap};

use super::Hits;
use super::trace::Trace;

/// Of a memory of so many bytes. Objects of different sizes are not weighed against each other, so it is a bound for
/// policies that do not either.
pub(super) fn belady(trace: &Trace, size: u64) -> Hits {
    let next = next_requests(trace);
    let mut held: HashMap<u32, (usize, u32)> = HashMap::new();
    let mut order: BTreeSet<(usize, u32)> = BTreeSet::new();
    let (mut used, mut hits) = (0_u64, Hits::default());
    for (&(object, bytes), &again) in trace.requests.iter().zip(&next) {
        if let Some((due, _)) = held.get_mut(&object) {
            order.remove(&(*due, object));
            order.insert((again, object));
            *due = again;
            hits.requests += 1;
            hits.bytes += u64::from(bytes);
            continue;
        }
        if again == NEVER || u64::from(bytes) > size {
            continue;
        }
        held.insert(object, (again, bytes));
        order.insert((again, object));
        used += u64::from(bytes);
        while used > size {
            let Some((_, last)) = order.pop_last() else { break };
            used -= held.remove(&last).map_or(0, |(_, bytes)| u64::from(bytes));
        }
    }
    hits
}

const NEVER: usize = usize::MAX;

/// For each request the number of the next one for the same object.
fn next_requests(trace: &Trace) -> Vec<usize> {
    let mut next = vec![NEVER; trace.requests.len()];
    let mut seen: HashMap<u32, usize> = HashMap::new();
    for (number, (object, _)) in trace.requests.iter().enumerate().rev() {
        if let Some(later) = seen.insert(*object, number) {
            next[number] = later;
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Objects of 10 bytes each, in a memory of so many.
    #[track_caller]
    fn check(objects: &str, fit: u64, expected: u64) {
        let text: String = objects.chars().map(|object| format!("0,{object},10\n")).collect();
        let trace = Trace::from_lines(text.as_bytes(), "test").unwrap();
        assert_eq!(belady(&trace, fit * 10), Hits { requests: expected, bytes: expected * 10 }, "{objects}");
    }

    #[test]
    fn the_object_that_is_needed_last_leaves() {
        check("abcabc", 3, 3);
        check("abcabc", 2, 2);
        check("abcabc", 1, 1);
        // c is never needed again and does not come in.
        check("abcab", 2, 2);
        check("aaaa", 1, 3);
        check("aaaa", 0, 0);
    }
}
