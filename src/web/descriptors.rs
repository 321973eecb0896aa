//! How many descriptors the system lets this process have, and how many of them are for connections.

/// As many as the process raises its limit to, where it may. What it needs is far below; beyond, the
/// programs that it starts inherit a limit to which some of them walk.
const ENOUGH: u64 = 65_536;

/// Raises the limit of descriptors as far as it may go, as Go programs do: the usual one of 1024 is for
/// programs that use `select`. Returns how many connections fit: at most `wanted`, and no more than half
/// of the limit, for requests to Graph, the ledger and the log must not fail for lack of descriptors.
pub(super) fn room_for(wanted: usize) -> usize {
    let limit = raise();
    within(limit, wanted)
}

fn within(limit: Option<u64>, wanted: usize) -> usize {
    let half = limit.map_or(usize::MAX, |limit| usize::try_from(limit / 2).unwrap_or(usize::MAX));
    wanted.min(half).max(1)
}

/// The limit; `None` where there is none.
#[cfg(unix)]
fn raise() -> Option<u64> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let highest = limit.maximum.map_or(ENOUGH, |maximum| maximum.min(ENOUGH));
    if limit.current.is_some_and(|current| current < highest) {
        let before = limit.current;
        limit.current = Some(highest);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "The limit of descriptors stays as it is");
            return before;
        }
    }
    limit.current
}

#[cfg(not(unix))]
fn raise() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_descriptors() {
        assert_eq!(within(None, 512), 512);
        assert_eq!(within(Some(1024), 512), 512);
        assert_eq!(within(Some(1023), 512), 511);
        assert_eq!(within(Some(64), 512), 32);
        assert_eq!(within(Some(1), 512), 1);
    }
}
