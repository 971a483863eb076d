//! The rows that were laid side by side where several requests share all their keys: worked out again, and told only where
//! they are as long as the join says they were.

use super::Joined;
use crate::correlate::compat::slack_of;
use crate::correlate::group::{Group, Rule};
use crate::correlate::runs::{may_stand_in_row, runs};
use crate::model::{Leg, Side};

/// One place of the rows as they were paired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPair {
    pub client: Option<Leg>,
    pub server: Option<Leg>,
    /// By how much the server's part sticks out of the client's, in the time in which they were compared.
    pub outside_us: Option<i64>,
}

/// Places of legs by start.
pub struct Row {
    pub clients: Vec<usize>,
    pub servers: Vec<usize>,
}

impl Joined<'_> {
    /// The row in which the pair was chosen; `None` where it stood alone, or cannot be told.
    pub fn row(&self, group: &Group, client: usize, server: usize) -> Option<Row> {
        let choice = group.choices.iter().find(|(s, _)| *s == server)?.1;
        if choice.clients <= 1 && choice.servers <= 1 {
            return None;
        }
        let (own, own_rule) = (&self.legs[client], choice.rule);
        // What an earlier rule had taken was no longer in the row.
        let later = |place: usize, legs: &[Leg]| {
            let rule = self.rule_of(place);
            share(own_rule, own, &legs[place]) && rule.is_none_or(|r| r >= own_rule)
        };
        let all = (0..self.legs.len()).filter(|&p| later(p, &self.legs) && self.in_mesh[p]);
        let (mut clients, mut servers): (Vec<usize>, Vec<usize>) =
            all.partition(|&p| self.legs[p].side == Side::Client);
        for row in [&mut clients, &mut servers] {
            row.sort_by_key(|&p| (self.compared[p].start, p));
        }
        let times = self.times();
        let told = self.told();
        let fits = |c: &Leg, s: &Leg| may_stand_in_row(c, s, times, &told);
        let slack_us = slack_of(own, times.slack_us);
        let found = runs(&self.compared, &clients, &servers, slack_us, fits);
        let found = found.into_iter().find(|(c, s)| c.contains(&client) && s.contains(&server));
        let (clients, servers) = found.unwrap_or((clients, servers));
        (clients.len() == choice.clients && servers.len() == choice.servers)
            .then_some(Row { clients, servers })
    }

    /// The row in which the pair was chosen, paired as it was, by the client's start; what found no partner comes last.
    pub fn paired_row(&self, group: &Group) -> Vec<RowPair> {
        let (Some(&client), [server]) = (group.clients.first(), &group.servers[..]) else {
            return Vec::new();
        };
        let Some(row) = self.row(group, client, *server) else { return Vec::new() };
        let partner = |c: usize| self.group_of(c).servers.iter().copied().find(|s| row.servers.contains(s));
        let pair = |c: Option<usize>, s: Option<usize>| RowPair {
            client: c.map(|c| self.legs[c].clone()),
            server: s.map(|s| self.legs[s].clone()),
            outside_us: c.zip(s).map(|(c, s)| outside_us(&self.compared[c], &self.compared[s])),
        };
        let mut pairs: Vec<RowPair> = row.clients.iter().map(|&c| pair(Some(c), partner(c))).collect();
        let lone = |s: &usize| self.group_of(*s).clients.iter().all(|c| !row.clients.contains(c));
        pairs.extend(row.servers.iter().copied().filter(lone).map(|s| pair(None, Some(s))));
        pairs
    }

    fn rule_of(&self, place: usize) -> Option<Rule> {
        let group = self.group_of(place);
        match self.legs[place].side {
            Side::Server => group.choices.iter().find(|(s, _)| *s == place).map(|(_, c)| c.rule),
            Side::Client => group.choices.iter().map(|(_, c)| c.rule).min(),
        }
    }
}

/// By how much the server's part begins before the client's or ends after it.
pub fn outside_us(client: &Leg, server: &Leg) -> i64 {
    let before = client.start.0 - server.start.0;
    before.max(server.end().0 - client.end().0).max(0)
}

fn share(rule: Rule, a: &Leg, b: &Leg) -> bool {
    let socket = a.socket.is_some() && a.socket == b.socket;
    match rule {
        Rule::Hop => a.hop.is_some() && a.hop == b.hop,
        Rule::SocketAndRequest => socket && a.same_request(b) == Some(true),
        Rule::Socket => socket,
        Rule::Request => a.same_request(b) == Some(true),
        Rule::Trace => a.trace.is_some() && a.trace.map(|t| t.trace_id) == b.trace.map(|t| t.trace_id),
    }
}
