//! Connections of HTTP/1.1: one request at a time on each, closed when nobody has used them for a while, ports used again.

/// An idle connection lives that long.
const IDLE_US: i64 = 20_000_000;
const FIRST_PORT: u16 = 32_768;
const PORTS: u64 = 28_000;

#[derive(Debug, Clone, Copy)]
pub struct Socket {
    /// At the end that opened it.
    pub port: u16,
    /// As the proxy at the other end counts.
    pub connection_id: u64,
    free_at_us: i64,
}

/// The connections between two proxies.
#[derive(Debug, Default)]
pub struct Pool(Vec<Socket>);

/// What an address has opened so far: its ports in turn.
#[derive(Debug, Default, Clone, Copy)]
pub struct Opened(u64);

impl Pool {
    /// The connection that was used last among those that are free, as Envoy takes it; else a new one.
    pub fn take(&mut self, from_us: i64, to_us: i64, opened: &mut Opened, accepted: &mut u64) -> Socket {
        self.0.retain(|socket| socket.free_at_us + IDLE_US > from_us);
        let free = (0..self.0.len()).filter(|&i| self.0[i].free_at_us < from_us);
        match free.max_by_key(|&i| self.0[i].free_at_us) {
            Some(i) => {
                self.0[i].free_at_us = to_us;
                self.0[i]
            }
            None => {
                let socket = opened.open(to_us, accepted);
                self.0.push(socket);
                socket
            }
        }
    }
}

impl Opened {
    fn open(&mut self, free_at_us: i64, accepted: &mut u64) -> Socket {
        let port = FIRST_PORT + (self.0 % PORTS) as u16;
        self.0 += 1;
        *accepted += 1;
        Socket { port, connection_id: *accepted, free_at_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_at_the_same_time_take_two_connections_and_the_next_one_of_them() {
        let (mut pool, mut opened, mut accepted) = (Pool::default(), Opened::default(), 0);
        let mut take = |from, to| pool.take(from, to, &mut opened, &mut accepted).port;
        let (first, second) = (take(0, 100), take(50, 80));
        assert_ne!(first, second);
        assert_eq!(take(90, 95), second, "the first is still at work");
        assert_eq!(take(101, 120), first, "used last");
        assert_ne!(take(30_000_000, 30_000_001), first, "closed for idleness");
    }
}
