//! How probable each pair is when every leg has one partner or none.
//!
//! Choosing the heaviest matching gives pairs without saying how sure they are; summing over all matchings is out of reach.
//! Belief propagation on the bipartite graph gives the marginal probability of each pair closely and cheaply: it converges
//! always, and is exact where the graph has no cycles. Source: Williams and Lau, "Approximate evaluation of marginal
//! association probabilities with belief propagation", IEEE Transactions on Aerospace and Electronic Systems 50(4), 2014.

/// A possible pair. `weight`: how much likelier the two legs are each other's than both without a partner.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    pub client: u32,
    pub server: u32,
    pub weight: f64,
}

const ROUNDS: usize = 60;
/// No message changes by more than this any more.
const STILL: f64 = 1e-7;

/// Probability of each edge. `edges` sorted by client.
pub fn marginals(edges: &[Edge], servers: usize) -> Vec<f64> {
    // What each client tells a server of its interest, and what each server tells a client of how free it is.
    let mut interest = vec![0.0; edges.len()];
    let mut free = vec![1.0; edges.len()];
    for _ in 0..ROUNDS {
        for row in rows(edges) {
            let all: f64 = row.clone().map(|e| edges[e].weight * free[e]).sum();
            for e in row {
                interest[e] = edges[e].weight / (1.0 + (all - edges[e].weight * free[e]).max(0.0));
            }
        }
        let mut asked = vec![0.0; servers];
        edges.iter().zip(&interest).for_each(|(edge, i)| asked[edge.server as usize] += i);
        let mut moved: f64 = 0.0;
        for (e, edge) in edges.iter().enumerate() {
            let others = (asked[edge.server as usize] - interest[e]).max(0.0);
            let now = 1.0 / (1.0 + others);
            moved = moved.max((now - free[e]).abs());
            free[e] = now;
        }
        if moved < STILL {
            break;
        }
    }
    let mut probabilities = vec![0.0; edges.len()];
    for row in rows(edges) {
        let all: f64 = 1.0 + row.clone().map(|e| edges[e].weight * free[e]).sum::<f64>();
        row.for_each(|e| probabilities[e] = edges[e].weight * free[e] / all);
    }
    probabilities
}

/// The edges of each client.
fn rows(edges: &[Edge]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut from = 0;
    edges.chunk_by(|a, b| a.client == b.client).map(move |row| {
        let range = from..from + row.len();
        from = range.end;
        range
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(client: u32, server: u32, weight: f64) -> Edge {
        Edge { client, server, weight }
    }

    #[test]
    fn a_pair_without_rivals_stands_against_the_loss_of_both() {
        assert!((marginals(&[edge(0, 0, 9.0)], 1)[0] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn of_two_clients_for_one_server_the_likelier_gets_it_in_proportion() {
        let found = marginals(&[edge(0, 0, 30.0), edge(1, 0, 10.0)], 1);
        assert!((found[0] - 30.0 / 41.0).abs() < 1e-6 && (found[1] - 10.0 / 41.0).abs() < 1e-6, "{found:?}");
    }

    #[test]
    fn who_has_no_other_choice_pushes_the_other_aside() {
        let found = marginals(&[edge(0, 0, 1e4), edge(0, 1, 1e4), edge(1, 0, 1e4)], 2);
        assert!(found[1] > 0.99 && found[2] > 0.99 && found[0] < 0.01, "{found:?}");
    }

    #[test]
    fn legs_that_nothing_tells_apart_are_a_coin_toss() {
        let all = [edge(0, 0, 1e4), edge(0, 1, 1e4), edge(1, 0, 1e4), edge(1, 1, 1e4)];
        assert!(marginals(&all, 2).iter().all(|p| (p - 0.5).abs() < 0.01));
    }
}
