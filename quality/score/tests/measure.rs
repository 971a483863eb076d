//! The measure on worlds of a few calls: what counts as right, and what nothing excuses.

use calltrail_score::export::{ExportedFinding, ExportedPrincipal};
use calltrail_score::score::What;
use calltrail_score::{
    Exported, ExportedLeg, Labels, LineHash, RealCall, RealLine, Role, Score, Side, Tally, score,
};

fn line(number: u8, role: Role) -> RealLine {
    RealLine { sha256: LineHash([number; 32]), role, span: None, side: None }
}

/// A call between two sidecars that left lines `client` and `server`.
fn real(id: &str, client: u8, server: u8) -> RealCall {
    RealCall {
        id: id.to_owned(),
        kind: "http".to_owned(),
        lines: vec![line(client, Role::Caller), line(server, Role::Callee)],
        ..RealCall::default()
    }
}

fn exported(id: &str, basis: &str, lines: &[(u8, Side)]) -> Exported {
    let leg = |(number, side): &(u8, Side)| ExportedLeg {
        line_sha256: LineHash([*number; 32]),
        span_id: None,
        side: Some(*side),
        hop: None,
    };
    Exported {
        id: id.to_owned(),
        parent_id: None,
        parent_inferred: false,
        principal: None,
        basis: basis.to_owned(),
        confidence: 0.75,
        ambiguous: 1,
        protocol: "http/2".to_owned(),
        legs: lines.iter().map(leg).collect(),
        findings: Vec::new(),
        unmeasured: Vec::new(),
    }
}

fn judged(real: &[RealCall], exported: &[Exported]) -> Score {
    score(real, exported, &Labels::own_names())
}

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

fn two_equals() -> [RealCall; 2] {
    let equal = |call: RealCall| RealCall { interchangeable: Some(7), ..call };
    [equal(real("a", 1, 2)), equal(real("b", 3, 4))]
}

#[test]
fn two_equals_that_were_swapped_are_right_as_a_group_and_wrong_alone() {
    let swapped = [
        exported("x", "inferred", &[(1, CLIENT), (4, SERVER)]),
        exported("y", "inferred", &[(3, CLIENT), (2, SERVER)]),
    ];
    let score = judged(&two_equals(), &swapped);
    assert_eq!((score.pairs.right, score.pairs.wrong, score.pairs.missed), (2, 0, 0));
    assert_eq!((score.pairs_strict.right, score.pairs_strict.wrong, score.pairs_strict.missed), (0, 2, 2));
    // A confidence of 0.75 was right in none of the two cases.
    assert!((score.calibration.expected_error() - 0.75).abs() < 1e-9);
}

#[test]
fn nothing_excuses_a_swap_that_was_called_proven() {
    let swapped = [
        exported("x", "proven", &[(1, CLIENT), (4, SERVER)]),
        exported("y", "inferred", &[(3, CLIENT), (2, SERVER)]),
    ];
    let score = judged(&two_equals(), &swapped);
    assert_eq!(score.count(What::WrongProven), 1);
    assert_eq!((score.by_basis["proven"].swapped, score.by_basis["inferred"].swapped), (1, 1));
}

#[test]
fn a_group_of_equals_that_lacks_a_pair_has_missed_it() {
    let score = judged(&two_equals(), &[exported("x", "inferred", &[(1, CLIENT), (4, SERVER)])]);
    assert_eq!((score.pairs.right, score.pairs.missed), (1, 1));
}

#[test]
fn lines_that_are_equal_to_the_last_byte_are_each_used_once() {
    let real = [real("a", 1, 9), real("b", 2, 9)];
    let both = [
        exported("x", "keyed", &[(1, CLIENT), (9, SERVER)]),
        exported("y", "keyed", &[(2, CLIENT), (9, SERVER)]),
    ];
    let score = judged(&real, &both);
    assert_eq!((score.pairs.right, score.pairs.wrong, score.pairs.missed), (2, 0, 0));
}

#[test]
fn the_child_of_a_call_that_left_no_line_is_a_root() {
    let mut child = real("child", 1, 2);
    child.parent = Some("gone".to_owned());
    let gone = RealCall { lines: Vec::new(), lost: 2, ..real("gone", 3, 4) };
    let score = judged(&[child, gone], &[exported("x", "proven", &[(1, CLIENT), (2, SERVER)])]);
    assert_eq!((score.parents.right, score.parents.wrong, score.parents.missed), (1, 0, 0));
}

#[test]
fn an_accusation_is_false_where_no_attack_led_to_the_call_and_explained_where_one_did() {
    let accused = |id: &str, lines: &[(u8, Side)]| Exported {
        findings: vec![ExportedFinding { kind: "replayed_header".to_owned() }],
        ..exported(id, "proven", lines)
    };
    let mut denied = real("denied", 1, 2);
    denied.findings.insert("denied".to_owned());
    let mut below = real("below", 3, 4);
    below.tainted_by.insert("replayed_header".to_owned());
    let raised = [accused("x", &[(1, CLIENT), (2, SERVER)]), accused("y", &[(3, CLIENT), (4, SERVER)])];
    let score = judged(&[denied, below], &raised);
    assert_eq!(score.false_accusations.get("replayed_header"), Some(&1));
}

#[test]
fn a_gateways_line_tells_of_two_calls_by_its_two_sides() {
    let gateway = |side| RealLine { side: Some(side), ..line(5, Role::Gateway) };
    let to_gateway = RealCall {
        kind: "edge_call".to_owned(),
        lines: vec![line(1, Role::Worker), gateway(SERVER)],
        ..real("in", 0, 0)
    };
    let onwards = RealCall { lines: vec![gateway(CLIENT), line(2, Role::Callee)], ..real("on", 0, 0) };
    let both = [
        exported("x", "keyed", &[(1, CLIENT), (5, SERVER)]),
        exported("y", "proven", &[(5, CLIENT), (2, SERVER)]),
    ];
    let score = judged(&[to_gateway, onwards], &both);
    assert_eq!((score.pairs.right, score.pairs.wrong, score.pairs.missed), (2, 0, 0));
}

#[test]
fn a_subject_on_a_call_that_nobody_made_for_him_is_wrong() {
    let named = Exported {
        principal: Some(ExportedPrincipal { subject: "alice".to_owned() }),
        ..exported("x", "proven", &[(1, CLIENT), (2, SERVER)])
    };
    let mut attack = real("attack", 1, 2);
    attack.findings.insert("broken_chain".to_owned());
    let score = judged(&[attack], &[named]);
    assert_eq!((score.principals.wrong, score.principals_wrong_under_attack), (1, 1));
}

#[test]
fn what_no_line_can_measure_is_counted_apart_and_only_where_every_line_came() {
    let found = |lost: usize, unmeasured: &[&str]| {
        let kept_back = unmeasured.iter().map(|kind| ExportedFinding { kind: (*kind).to_owned() });
        let mut call = RealCall { lost, ..real("a", 1, 2) };
        call.findings = ["no_client_leg", "denied"].map(str::to_owned).into();
        let shown = Exported {
            unmeasured: kept_back.collect(),
            ..exported("x", "proven", &[(1, CLIENT), (2, SERVER)])
        };
        let score = judged(&[call], &[shown]);
        let missed = |tallies: &std::collections::BTreeMap<String, Tally>| {
            tallies.get("no_client_leg").map_or(0, |tally| tally.missed)
        };
        let apart = score.findings_unmeasured.get("no_client_leg").copied().unwrap_or(0);
        (missed(&score.findings), missed(&score.findings_complete), apart)
    };
    assert_eq!(found(0, &["no_client_leg"]), (1, 0, 1));
    assert_eq!(found(0, &["denied"]), (1, 1, 0), "another finding that is kept back excuses nothing");
    assert_eq!(found(1, &["no_client_leg"]), (1, 0, 0));
}
