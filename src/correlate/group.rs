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
    /// Of server legs inside the mesh: how each came here.
    pub choices: Vec<(usize, Choice)>,
}

/// By which rule a server leg came to its client leg, and among how many of each it was chosen. It decides nothing: it is what
/// an explanation tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub rule: Rule,
    pub clients: usize,
    pub servers: usize,
}

/// What brings legs of two proxies together, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The hop id.
    Hop,
    /// Socket pair and request id; the order on the connection where several have both.
    SocketAndRequest,
    /// Socket pair; the order on the connection where several share it.
    Socket,
    /// Request id; order or time where several share it.
    Request,
    /// Trace, parties, method, path and time.
    Trace,
}

pub const CERTAIN_PPM: u32 = 1_000_000;

impl Group {
    pub fn single(place: usize, legs: &[Leg]) -> Self {
        let (clients, servers) = match legs[place].side {
            Side::Client => (vec![place], vec![]),
            Side::Server => (vec![], vec![place]),
        };
        Group {
            clients,
            servers,
            basis: Basis::Single,
            confidence_ppm: CERTAIN_PPM,
            ambiguous: 1,
            choices: vec![],
        }
    }

    pub fn joined(
        clients: Vec<usize>,
        servers: Vec<usize>,
        basis: Basis,
        confidence_ppm: u32,
        ambiguous: u32,
    ) -> Self {
        let confidence_ppm = if basis == Basis::Inferred { confidence_ppm } else { CERTAIN_PPM };
        Group { clients, servers, basis, confidence_ppm, ambiguous, choices: vec![] }
    }

    /// The caller's own client leg, not the zone's witness.
    pub fn own_client<'a>(&self, legs: &'a [Leg]) -> Option<&'a Leg> {
        self.clients.iter().map(|&i| &legs[i]).find(|l| l.observer.kind != ObserverKind::Zone)
    }

    pub fn members(&self) -> impl Iterator<Item = usize> {
        self.clients.iter().chain(&self.servers).copied()
    }
}
