//! Which connection each request went over. Done when all requests are known, in the order in which they were sent: a connection of
//! HTTP/1.1 carries one request at a time, one of HTTP/2 many, one of TCP is the call; ports rest before they are used again.

use super::config::Config;
use super::dice::Dice;
use super::distributions::REQUESTS_PER_CONNECTION;
use super::exchange::{Exchange, Socket};
use super::topology::{ProxyNo, ServiceNo, Speaks, Topology};
use std::collections::{BTreeMap, VecDeque};

struct Connection {
    socket: Socket,
    /// Until when a request occupies it; when the last one ended.
    busy_until_us: i64,
    requests_left: i64,
}

/// Ports of one address, given out upwards; a port that has rested may be given out again.
#[derive(Default)]
struct Ports {
    next: u16,
    closed: VecDeque<(i64, u16)>,
}

const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    /// Caller's proxy to callee's proxy.
    Mesh(ProxyNo, ProxyNo),
    /// Application to its own proxy, by the callee that it asks for; or the zone to a gateway.
    Local(ProxyNo, ServiceNo),
}

/// How a request uses a connection.
struct Use {
    speaks: Speaks,
    at_us: i64,
    until_us: i64,
    opens: bool,
    closes: bool,
}

pub struct Connections<'a> {
    config: &'a Config,
    pools: BTreeMap<Pool, Vec<Connection>>,
    ports: BTreeMap<String, Ports>,
    /// By the proxy that accepts.
    accepted: Vec<u64>,
    serial: u64,
}

/// Gives every exchange and attempt its sockets.
pub fn connect(exchanges: &mut [Exchange], topology: &Topology, config: &Config, dice: &mut Dice) {
    let mut wires = Connections {
        config,
        pools: BTreeMap::new(),
        ports: BTreeMap::new(),
        accepted: vec![0; topology.proxies.len()],
        serial: 0,
    };
    // (when, which exchange, which attempt): the application's own connection comes first.
    let mut order: Vec<(i64, usize, usize)> = Vec::new();
    for (i, exchange) in exchanges.iter().enumerate() {
        order.push((exchange.start_us, i, 0));
        order.extend(exchange.attempts.iter().enumerate().map(|(k, a)| (a.sent_us, i, k + 1)));
    }
    order.sort_unstable();
    for (_, i, k) in order {
        match k {
            0 => wires.connect_application(&mut exchanges[i], topology, dice),
            _ => wires.connect_attempt(&mut exchanges[i], k - 1, topology, dice),
        }
    }
}

impl Connections<'_> {
    fn connect_application(&mut self, exchange: &mut Exchange, topology: &Topology, dice: &mut Dice) {
        if exchange.around.is_some() {
            return;
        }
        let speaks = exchange.to.map_or(Speaks::Http1, |to| topology.services[to].speaks);
        let of = Use {
            speaks,
            at_us: exchange.start_us,
            until_us: exchange.end_us,
            opens: false,
            closes: exchange.face.code == 0 || exchange.face.code == 101,
        };
        let from = exchange.from;
        // The gateway's own clients come from one network, whatever they ask for.
        let (pool, address) = match exchange.entry {
            Some(_) => (Pool::Local(from, usize::MAX), "outside".to_owned()),
            None => (Pool::Local(from, exchange.to.unwrap_or(usize::MAX)), format!("local {from}")),
        };
        exchange.app_socket = Some(self.socket(pool, &address, from, &of, dice));
    }

    fn connect_attempt(&mut self, exchange: &mut Exchange, k: usize, topology: &Topology, dice: &mut Dice) {
        let attempt = &exchange.attempts[k];
        let Some((to, service)) = attempt.to.filter(|_| attempt.reached).zip(exchange.to) else { return };
        let around = exchange.around.clone();
        let of = Use {
            speaks: topology.services[service].speaks,
            at_us: attempt.sent_us,
            until_us: attempt.done_us.max(attempt.served_us),
            opens: attempt.opens || around.is_some(),
            closes: attempt.closes || around.is_some(),
        };
        let address = around.unwrap_or_else(|| topology.proxies[exchange.from].proxy.address.clone());
        let socket = self.socket(Pool::Mesh(exchange.from, to), &address, to, &of, dice);
        exchange.attempts[k].socket = Some(socket);
    }

    fn socket(&mut self, pool: Pool, address: &str, accepts: ProxyNo, of: &Use, dice: &mut Dice) -> Socket {
        self.close_idle(&pool, address, of.at_us);
        let free = if of.opens { None } else { self.free(&pool, of, dice) };
        let connection = match free {
            Some(place) => self.pools.get_mut(&pool).expect("it was just found").remove(place),
            None => self.open(address, accepts, of.at_us, dice),
        };
        let socket = connection.socket;
        let until_us = connection.busy_until_us.max(of.until_us);
        let requests_left = connection.requests_left - 1;
        if of.closes || of.speaks == Speaks::Tcp || (requests_left <= 0 && is_exclusive(of.speaks)) {
            self.close(address, socket.port, until_us);
        } else {
            let connection = Connection { socket, busy_until_us: until_us, requests_left };
            self.pools.entry(pool).or_default().push(connection);
        }
        socket
    }

    /// The place of a connection that can take the request: over HTTP/1.1 the one that was used last.
    fn free(&self, pool: &Pool, of: &Use, dice: &mut Dice) -> Option<usize> {
        let open = self.pools.get(pool)?;
        match of.speaks {
            Speaks::Tcp => None,
            Speaks::Http1 => open.iter().rposition(|c| c.busy_until_us < of.at_us),
            Speaks::Http2 | Speaks::Grpc => {
                let place = dice.below(self.config.connections.http2_per_pair.max(1));
                (place < open.len()).then_some(place)
            }
        }
    }

    fn open(&mut self, address: &str, accepts: ProxyNo, at_us: i64, dice: &mut Dice) -> Connection {
        let ports = self.ports.entry(address.to_owned()).or_default();
        let rest_us = self.config.connections.port_rest_seconds * 1_000_000;
        let rested = ports.closed.front().is_some_and(|(closed, _)| closed + rest_us < at_us);
        let again = rested && dice.chance(self.config.connections.port_reuse_share);
        let port = match again.then(|| ports.closed.pop_front()).flatten() {
            Some((_, port)) => port,
            None => ports.fresh(),
        };
        self.serial += 1;
        self.accepted[accepts] += 1;
        let socket = Socket { port, connection_id: self.accepted[accepts], serial: self.serial };
        let requests_left = dice.log_normal(REQUESTS_PER_CONNECTION).max(1);
        Connection { socket, busy_until_us: i64::MIN, requests_left }
    }

    fn close(&mut self, address: &str, port: u16, at_us: i64) {
        let closed = &mut self.ports.entry(address.to_owned()).or_default().closed;
        // Almost always at the end: connections close about in the order in which they are given back.
        let place = closed.partition_point(|(at, _)| *at <= at_us);
        closed.insert(place, (at_us, port));
    }

    fn close_idle(&mut self, pool: &Pool, address: &str, now_us: i64) {
        let idle_us = self.config.connections.idle_seconds * 1_000_000;
        let Some(open) = self.pools.get_mut(pool) else { return };
        let stale = |c: &Connection| c.busy_until_us + idle_us < now_us;
        let gone: Vec<Connection> = open.extract_if(.., |c| stale(c)).collect();
        for connection in gone {
            self.close(address, connection.socket.port, connection.busy_until_us + idle_us);
        }
    }
}

impl Ports {
    fn fresh(&mut self) -> u16 {
        self.next = match self.next {
            0 | LAST_PORT => FIRST_PORT,
            port => port + 1,
        };
        self.next
    }
}

fn is_exclusive(speaks: Speaks) -> bool {
    speaks == Speaks::Http1
}
