-- Calls whose status is not of the usual class, which are few: those of the usual one are found by their start.
create index call_unusual on call (status_class, start_us) where status_class <> 2;
