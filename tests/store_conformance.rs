//! What the store promises, told as stories and held against both databases: SQLite always, Postgres at `TEST_DATABASE_URL`
//! (a server on which databases may be created; each story has its own). Without that variable the Postgres half fails.
#![allow(clippy::unwrap_used)]

#[path = "store_conformance/bed.rs"]
mod bed;
#[path = "store_conformance/derived.rs"]
mod derived;
#[path = "store_conformance/evidence.rs"]
mod evidence;
#[path = "store_conformance/fixtures.rs"]
mod fixtures;
#[path = "store_conformance/heard.rs"]
mod heard;
#[path = "store_conformance/journal.rs"]
mod journal;
#[path = "store_conformance/layout.rs"]
mod layout;
#[path = "store_conformance/opening.rs"]
mod opening;
#[path = "store_conformance/questions.rs"]
mod questions;
#[path = "store_conformance/retention.rs"]
mod retention;
#[path = "store_conformance/retention_evidence.rs"]
mod retention_evidence;
#[path = "common/scan.rs"]
mod scan;
#[path = "store_conformance/statistics.rs"]
mod statistics;
#[path = "store_conformance/summary.rs"]
mod summary;

/// Each story once for each database.
macro_rules! stories {
    ($($module:ident::$story:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $story() { crate::bed::on_sqlite(crate::$module::$story).await })+
        }
        mod postgres {
            $(#[tokio::test] async fn $story() { crate::bed::on_postgres(crate::$module::$story).await })+
        }
    };
}

stories! {
    evidence::lines_come_back_byte_for_byte,
    evidence::a_repeated_delivery_is_not_stored_twice,
    evidence::numbers_are_gap_free_when_two_processes_commit_at_once,
    evidence::two_processes_that_receive_the_same_uploads_store_each_once,
    evidence::the_tree_is_the_one_that_an_auditor_computes_from_the_lines,
    evidence::reading_stops_after_enough_lines_and_goes_on_there,
    evidence::any_line_can_be_shown,
    derived::a_call_comes_back_whole,
    derived::whoever_lost_the_office_writes_nothing,
    derived::of_two_changes_from_one_position_one_is_written,
    derived::a_replaced_call_leaves_no_keys_and_no_findings_behind,
    derived::a_removed_call_is_gone,
    derived::a_call_is_found_by_every_id_it_ever_had,
    derived::hostile_names_do_not_stop_the_correlator,
    derived::a_port_that_is_used_again_is_another_connection,
    derived::spans_that_come_to_touch_are_one,
    derived::calls_are_found_by_party_and_time,
    derived::what_an_identity_was_serving_is_found_by_the_time_of_serving,
    derived::what_is_being_written_counts_for_the_next_step_as_written,
    derived::many_calls_in_one_change_are_all_there,
    derived::rejects_are_listed_newest_first_and_once,
    derived::what_is_derived_can_be_thrown_away_and_the_evidence_stays,
    questions::pages_show_every_call_once_also_when_starts_are_equal,
    questions::each_filter_finds_its_calls_and_no_others,
    questions::a_trace_is_listed_by_start,
    questions::calls_under_a_key_are_listed_by_start_up_to_a_limit,
    questions::a_call_that_is_being_replaced_never_shows_another_ones_findings,
    questions::a_finding_holds_from_when_it_was_raised,
    questions::absence_is_held_against_nobody_who_did_not_report_well,
    questions::a_page_of_findings_never_parts_those_of_one_call,
    questions::findings_are_filtered,
    questions::a_call_with_two_findings_of_a_kind_is_listed_once,
    statistics::sums_and_quantiles_are_those_of_the_calls_at_every_grain,
    statistics::a_replaced_call_is_counted_where_it_stands_now_and_nowhere_else,
    statistics::a_change_of_many_places_is_counted_whole,
    statistics::each_filter_counts_its_calls_and_no_others,
    statistics::an_answer_that_is_too_long_shows_it,
    statistics::statistics_are_thrown_away_with_the_calls,
    summary::calls_are_counted_by_step_and_by_whatever_they_are_grouped_by,
    summary::totals_tell_failures_from_denials,
    summary::counting_stops_at_its_bound_with_the_newest,
    summary::quantiles_are_durations_that_a_call_really_took,
    summary::findings_are_counted_by_severity_while_they_hold,
    journal::what_is_taken_back_is_kept_in_its_order,
    journal::what_nobody_was_told_is_not_kept,
    journal::deriving_old_ground_again_leaves_the_journal_as_it_is,
    journal::a_finding_that_never_counted_is_not_taken_back,
    journal::whoever_lost_the_office_takes_nothing_back,
    layout::calls_are_found_by_their_keys_however_many_changes_wrote_them,
    layout::calls_are_read_whether_a_dictionary_packed_them_or_none,
    layout::pages_go_on_from_bucket_to_bucket,
    layout::calls_are_found_whether_the_filters_are_held_or_read_in_pieces,
    layout::what_is_looked_for_near_a_time_is_found_there_and_need_not_be_found_elsewhere,
    retention::nothing_is_held_of_a_hundred_runs_and_a_call_is_found_in_milliseconds,
    heard::what_is_heard_adds_up_whatever_the_order,
    heard::names_that_are_one_once_stored_add_up_in_one_step,
    heard::minutes_are_told_apart_by_whether_they_are_news_and_found_around_a_time,
    heard::an_instance_is_judged_by_itself_and_an_idle_hour_by_the_day_before,
    heard::days_before_the_day_before_say_nothing,
    heard::nothing_is_held_against_the_blind,
    heard::a_silence_that_lasts_reaches_back_once_it_is_known_for_one,
    heard::what_is_declared_survives_a_rebuild_and_is_replaced_by_what_is_declared_next,
    retention::old_calls_go_and_those_denied_or_accused_stay_as_long_as_their_own_rules_say,
    retention::what_was_removed_is_written_down_with_its_rule,
    retention::answers_about_the_time_that_is_kept_are_those_of_before,
    retention::what_comes_late_goes_the_next_time_and_changes_no_sum,
    retention::a_change_that_was_made_ready_before_a_removal_counts_nothing_twice,
    retention::sums_go_by_their_own_rules,
    retention::the_sums_of_one_time_go_in_steps_however_many_they_are,
    retention::a_long_run_is_shortened_in_steps,
    retention::a_run_whose_writer_was_killed_counts_for_nothing_and_goes,
    heard::who_is_gone_is_forgotten_with_the_time_in_which_he_was_heard,
    retention::what_comes_late_writes_no_sum_of_a_grain_that_is_gone,
    retention::keys_and_buckets_of_calls_that_are_gone_go_too,
    retention::a_call_is_found_through_a_hundred_runs_in_milliseconds,
    retention::while_much_is_removed_commits_wait_for_no_more_than_a_step,
    retention::a_file_that_can_shrink_gives_back_its_room,
    retention_evidence::lines_go_and_the_tree_stays_what_it_was,
    retention_evidence::what_has_not_been_derived_does_not_go,
    retention_evidence::a_delivery_whose_lines_are_gone_is_still_known,
    retention_evidence::lines_that_somebody_else_removed_are_named,
    retention_evidence::two_that_remove_at_once_count_each_line_once,
    retention_evidence::every_table_that_is_derived_is_carried,
    opening::what_was_written_is_there_after_opening_again,
    opening::a_database_of_a_newer_version_is_refused_with_a_sentence,
    opening::tokens_are_kept_by_name_until_revoked,
}
