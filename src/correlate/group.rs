//! A [`Group`]: the legs of one call, by their places in the sorted row of legs, with how they were joined.

use crate::model::{Basis, Leg, ObserverKind, Side};

/// Places into the row of legs that the join works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The caller's own record first, then the zone's witness of it.
    pub clients: Vec<usize>,
    /// One per attempt that reached the callee, by start.
    pub servers: Vec<usize>,
    pub basis: Basis,
    pub confidence_ppm: u32,
    pub ambiguous: u32,
}

pub const CERTAIN_PPM: u32 = 1_000_000;

impl Group {
    pub fn single(place: usize, legs: &[Leg]) -> Self {
        let (clients, servers) = match legs[place].side {
            Side::Client => (vec![place], vec![]),
            Side::Server => (vec![], vec![place]),
        };
        Group { clients, servers, basis: Basis::Single, confidence_ppm: CERTAIN_PPM, ambiguous: 1 }
    }

    pub fn joined(
        clients: Vec<usize>,
        servers: Vec<usize>,
        basis: Basis,
        confidence_ppm: u32,
        ambiguous: u32,
    ) -> Self {
        let confidence_ppm = if basis == Basis::Inferred { confidence_ppm } else { CERTAIN_PPM };
        Group { clients, servers, basis, confidence_ppm, ambiguous }
    }

    /// The caller's own client leg, not the zone's witness.
    pub fn own_client<'a>(&self, legs: &'a [Leg]) -> Option<&'a Leg> {
        self.clients.iter().map(|&i| &legs[i]).find(|l| l.observer.kind != ObserverKind::Zone)
    }

    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.clients.iter().chain(&self.servers).copied()
    }
}
