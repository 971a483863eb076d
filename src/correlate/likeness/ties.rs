//! Which of the caller's connections is which of the callee's.
//!
//! A network that rewrites addresses makes the two ends' socket pairs differ, but in the same way for every call of a
//! connection. Calls that were paired by other evidence so vote for the connections to which they belong; what the votes say is
//! evidence for the next round. A pair's own vote never counts for itself. Where the addresses tell nothing (all calls seem to
//! come from one), neither do the votes.

use super::features::Features;
use std::collections::HashMap;

/// How many votes a connection that nobody has voted on counts for.
const DOUBT: f64 = 1.0;

pub struct Ties {
    together: HashMap<(u32, u32), f64>,
    client: Vec<f64>,
    server: Vec<f64>,
    client_share: Vec<f64>,
    server_share: Vec<f64>,
}

impl Ties {
    pub fn none(features: &Features) -> Self {
        let share = |row: &[super::features::Feature]| {
            let mut share = vec![0.0; features.connections];
            row.iter().filter_map(|f| f.connection).for_each(|c| share[c as usize] += 1.0);
            let all = row.len().max(1) as f64;
            share.iter_mut().for_each(|n| *n /= all);
            share
        };
        Ties {
            together: HashMap::new(),
            client: vec![0.0; features.connections],
            server: vec![0.0; features.connections],
            client_share: share(&features.clients),
            server_share: share(&features.servers),
        }
    }

    pub fn vote(&mut self, client: Option<u32>, server: Option<u32>, probability: f64) {
        if let (Some(c), Some(s)) = (client, server) {
            *self.together.entry((c, s)).or_default() += probability;
            self.client[c as usize] += probability;
            self.server[s as usize] += probability;
        }
    }

    /// How much likelier two legs are each other's for being of these connections, as a natural logarithm. `own`: what the
    /// pair itself has voted.
    pub fn evidence(&self, client: Option<u32>, server: Option<u32>, own: f64) -> f64 {
        let (Some(c), Some(s)) = (client, server) else { return 0.0 };
        let together = (self.together.get(&(c, s)).copied().unwrap_or(0.0) - own).max(0.0);
        let seen = |votes: f64, share: f64| {
            ((together + DOUBT * share) / ((votes - own).max(0.0) + DOUBT) / share).ln()
        };
        let from_client = seen(self.client[c as usize], self.server_share[s as usize]);
        let from_server = seen(self.server[s as usize], self.client_share[c as usize]);
        from_client.min(from_server)
    }
}
