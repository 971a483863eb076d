//! Calls from one service to another, and what they cause: who is asked, when each side sees it, what comes of it.

use super::Sim;
use super::dice::Dice;
use super::distributions::*;
use super::exchange::{App, Attempt, Exchange, Face, Verdict};
use super::headers::Headers;
use super::routes::{Ending, Leg, Step, steps};
use super::topology::{Forwards, ProxyNo, ServiceNo, Speaks};
use super::truth::{Asked, Cause, finding};
use crate::records::CallNo;

/// A request as somebody decides to make it.
pub struct Order<'a> {
    pub from: ProxyNo,
    pub leg: Leg,
    pub id: &'a str,
    pub headers: Headers,
    pub at_us: i64,
    /// At a gateway: the call by which it came.
    pub entry: Option<CallNo>,
    /// Goes straight to the callee's sidecar, with the certificate of `from`, from this address.
    pub around: Option<String>,
    /// When whoever waits at the other end of the whole chain goes away.
    pub abort_us: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub call: CallNo,
    pub at_us: i64,
    pub status: i32,
}

/// A request that is under way.
pub struct Under<'a> {
    pub call: CallNo,
    pub cause: Cause,
    pub order: &'a Order<'a>,
    pub sent: Headers,
    pub callee: ServiceNo,
    pub path: String,
    pub body_bytes: u64,
    pub is_http2: bool,
}

/// What came of it, from the caller's side.
pub struct Played {
    pub attempts: Vec<Attempt>,
    pub face: Face,
    pub end_us: i64,
    pub status: i32,
}

impl Sim<'_> {
    pub fn call(&mut self, cause: &Cause, order: Order) -> Done {
        let callee = self.topology.service(order.leg.to);
        self.touched.insert(callee);
        let speaks = self.topology.services[callee].speaks;
        let path = order.leg.path.replace("{id}", order.id);
        let call = self.open_call(cause, &order, callee, &path);
        let is_http = speaks != Speaks::Tcp;
        let sent = match (&order.around, is_http) {
            (_, false) => Headers::default(),
            (Some(_), true) => order.headers.clone(),
            (None, true) => order.headers.clone().through(self.topology.of(order.from), true, &mut self.dice),
        };
        self.ledger.proves(call, &sent);
        let is_http2 = matches!(speaks, Speaks::Http2 | Speaks::Grpc);
        let body_bytes = body_bytes(&order.leg, self.topology.services[callee].name);
        let cause = cause.clone();
        let under = Under { call, cause, order: &order, sent, callee, path, body_bytes, is_http2 };
        let played = self.play(&under);
        self.ledger.close(call, played.status, played.end_us);
        self.ledger.calls[call].attempts = played.face.attempts;
        let done = Done { call, at_us: played.end_us, status: played.status };
        self.exchanges.push(exchange(under, played));
        done
    }

    fn open_call(&mut self, cause: &Cause, order: &Order, callee: ServiceNo, path: &str) -> CallNo {
        let callee = &self.topology.services[callee];
        let kind = match (callee.speaks, order.leg.ending) {
            (Speaks::Tcp, _) => "tcp",
            (Speaks::Grpc, _) => "grpc",
            (_, Ending::Websocket) => "ws",
            _ => "http",
        };
        let is_http = kind != "tcp";
        let asked = Asked {
            kind,
            caller: self.topology.of(order.from).name,
            callee: callee.name,
            method: is_http.then_some(order.leg.method),
            path: is_http.then_some(path),
        };
        self.ledger.open(cause, &asked, order.at_us)
    }

    /// Goes to one of the callee's instances.
    pub fn attempt(&mut self, under: &Under, sent_us: i64) -> Attempt {
        let callee = &self.topology.services[under.callee];
        let to = *self.dice.one_of(&callee.proxies);
        let (delay_us, opens) = arrival(&mut self.dice, callee.speaks, under.order.entry.is_some());
        let is_http = callee.speaks != Speaks::Tcp;
        let logged = if is_http {
            under.sent.clone().through(callee, false, &mut self.dice)
        } else {
            Headers::default()
        };
        let arrived_us = sent_us + delay_us;
        let mut face = Face::http(200, under.body_bytes, response_bytes(callee.name));
        if is_http {
            face.verdict = Verdict::Allowed(permission(self.topology.of(under.order.from).name, callee.name));
        }
        Attempt {
            to: Some(to),
            reached: true,
            sent_us,
            done_us: arrived_us,
            arrived_us,
            served_us: arrived_us,
            opens,
            closes: false,
            logged,
            face,
            socket: None,
        }
    }

    /// What the application behind `attempt` does: when it answers, and what.
    pub fn serve(&mut self, under: &Under, attempt: &Attempt) -> (i64, i32) {
        let (Some(proxy), arrived_us) = (attempt.to, attempt.arrived_us) else { return (0, 0) };
        let service = self.topology.of(proxy);
        let (name, forwards) = (service.name, service.forwards);
        let about = under.path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let todo = steps(name, about);
        if todo.is_empty() {
            return (arrived_us + self.dice.mixture(&LEAF_SERVICE).0, 200);
        }
        let mut work =
            Work { proxy, forwards, received: &attempt.logged, under, status: 200, put_off: Vec::new() };
        let mut at_us = arrived_us + self.dice.mixture(&FIRST_CHILD).0;
        for (i, step) in todo.iter().enumerate() {
            if i > 0 && !matches!(step, Step::PutOff(_) | Step::PutOffSigned(_)) {
                at_us += self.dice.log_normal(THINK);
            }
            at_us = self.step(&mut work, step, at_us);
        }
        let end_us = at_us + self.dice.log_normal(WIND_UP);
        let (status, put_off) = (work.status, std::mem::take(&mut work.put_off));
        for (leg, signed) in put_off {
            self.do_put_off(&work, leg, signed, end_us);
        }
        (end_us, status)
    }

    fn step(&mut self, work: &mut Work, step: &Step, at_us: i64) -> i64 {
        match step {
            Step::Call(leg) => self.cause(work, leg, at_us),
            Step::FanOut(leg) => {
                let (mut start_us, mut end_us) = (at_us, at_us);
                for _ in 0..self.how_many() {
                    end_us = end_us.max(self.cause(work, leg, start_us));
                    start_us += self.dice.mixture(&FAN_OUT).0;
                }
                end_us
            }
            Step::OneByOne(leg) => {
                let mut end_us = at_us;
                for i in 0..self.how_many() {
                    let pause_us = if i > 0 { self.dice.log_normal(THINK) } else { 0 };
                    end_us = self.cause(work, leg, end_us + pause_us);
                }
                end_us
            }
            Step::PutOff(leg) => {
                work.put_off.push((*leg, false));
                at_us
            }
            Step::PutOffSigned(leg) => {
                work.put_off.push((*leg, true));
                at_us
            }
        }
    }

    fn how_many(&mut self) -> i64 {
        let (low, high) = self.config.fan_out;
        self.dice.between(low, high)
    }

    /// A call made because of another. When it is answered.
    fn cause(&mut self, work: &mut Work, leg: &Leg, at_us: i64) -> i64 {
        let mut headers = work.received.handed_on(work.forwards, &mut self.dice);
        if self.dice.chance(self.config.false_hop_share) {
            let older = work.received.parent_hop.clone().filter(|_| self.dice.chance(0.5));
            headers.hop = Some(older.unwrap_or_else(|| self.dice.hex::<16>()));
        }
        let swapped = self.swap_header(work, &mut headers);
        let order = work.order(leg, headers, at_us);
        let done = self.call(&work.under.cause.by(work.under.call), order);
        if let Some(names_user) = swapped {
            self.ledger.find(done.call, finding::REPLAYED_HEADER);
            // The edge's record of the request that it is made for names another user. What a Worker signed for the Worker that
            // called it names none: nothing is claimed then that could differ.
            if names_user {
                self.ledger.find(done.call, finding::IDENTITY_MISMATCH);
            }
        }
        work.status = work.status.max(as_own_status(done.status));
        done.at_us
    }

    /// A compromised service sends the header of a request that it has answered long ago: whether that names a user.
    fn swap_header(&mut self, work: &Work, headers: &mut Headers) -> Option<bool> {
        let is_compromised = self.topology.of(work.proxy).name == super::attacks::COMPROMISED;
        let other = self.swap.take_if(|_| is_compromised)?;
        Some(headers.calltrail.insert(other).names_user)
    }

    /// Work that outlives its request.
    fn do_put_off(&mut self, work: &Work, leg: Leg, signed: bool, end_us: i64) {
        let mut headers = work.received.handed_on(work.forwards, &mut self.dice);
        let at_us = end_us + self.dice.log_normal(PUT_OFF);
        if !signed {
            headers.calltrail = None;
        }
        let is_signed = headers.calltrail.is_some();
        let done = self.call(&work.under.cause.by(work.under.call), work.order(&leg, headers, at_us));
        if is_signed {
            self.seen_as_replay(done.call);
        }
    }
}

/// What an application has to do for one request.
struct Work<'a> {
    proxy: ProxyNo,
    forwards: Forwards,
    received: &'a Headers,
    under: &'a Under<'a>,
    status: i32,
    put_off: Vec<(Leg, bool)>,
}

impl<'a> Work<'a> {
    fn order(&self, leg: &Leg, headers: Headers, at_us: i64) -> Order<'a> {
        Order {
            from: self.proxy,
            leg: *leg,
            id: self.under.order.id,
            headers,
            at_us,
            entry: None,
            around: None,
            abort_us: self.under.order.abort_us,
        }
    }
}

fn exchange(under: Under, played: Played) -> Exchange {
    let Under { call, order, sent, callee, path, .. } = under;
    let is_http = !order.leg.path.is_empty();
    let authority = match order.entry {
        Some(_) => super::edge::GATEWAY_HOST.to_owned(),
        // Applications talk to the listener that their sidecar opens for the callee.
        None => format!("127.0.0.1:{}", upstream_listener_port(callee)),
    };
    Exchange {
        call,
        entry: order.entry,
        from: order.from,
        around: order.around.clone(),
        to: Some(callee),
        method: is_http.then(|| order.leg.method.to_owned()),
        authority: is_http.then_some(authority),
        path: is_http.then_some(path),
        start_us: order.at_us,
        end_us: played.end_us,
        logged: sent,
        face: played.face,
        attempts: played.attempts,
        app_socket: None,
    }
}

pub fn upstream_listener_port(callee: ServiceNo) -> usize {
    15_000 + callee
}

fn arrival(dice: &mut Dice, speaks: Speaks, from_gateway: bool) -> (i64, bool) {
    let of = match speaks {
        Speaks::Tcp => return (dice.log_normal(ARRIVAL_TCP), true),
        _ if from_gateway => &ARRIVAL_GATEWAY,
        Speaks::Http1 => &ARRIVAL_HTTP1,
        Speaks::Http2 => &ARRIVAL_HTTP2,
        Speaks::Grpc => &ARRIVAL_GRPC,
    };
    let (delay_us, part) = dice.mixture(of);
    // Streams of a new HTTP/2 connection wait for its one handshake.
    (delay_us, part == HANDSHAKE && speaks == Speaks::Http1)
}

/// Which rule lets the request pass: `api` and `jwtapi` have intentions of layer 7.
fn permission(caller: &str, callee: &str) -> Option<u8> {
    match (caller, callee) {
        ("web", "api") => Some(2),
        (_, "jwtapi") => Some(0),
        _ => None,
    }
}

fn body_bytes(leg: &Leg, callee: &str) -> u64 {
    match (leg.ending, leg.method, callee) {
        (Ending::Stream, ..) => 200_000,
        (_, "POST", "stock") => 10,
        (_, "POST", "jwtapi") => 300,
        (_, "POST", "api") => 2_000,
        (_, "POST", _) => 500,
        _ => 0,
    }
}

/// As the captures' applications answer.
pub fn response_bytes(callee: &str) -> u64 {
    match callee {
        "stock" => 7,
        "jwtapi" => 27,
        "billing" | "catalog" => 28,
        _ => 24,
    }
}

/// What an application answers when a call that it made went wrong.
fn as_own_status(status: i32) -> i32 {
    match status {
        403 | 504 => status,
        500.. => 502,
        _ => 200,
    }
}

impl Attempt {
    /// The callee's sidecar refuses it.
    pub fn refuse(&mut self, served_us: i64) {
        self.served_us = served_us;
        let details = "rbac_access_denied_matched_policy[none]";
        let face = Face::http(403, 0, 19).flagged("-", details);
        self.face = Face { attempts: 0, verdict: Verdict::Denied, app: App::NotTried, ..face };
    }
}
