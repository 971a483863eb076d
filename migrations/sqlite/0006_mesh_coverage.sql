-- All proxies together, by which somebody is judged of whom too few calls tell: the sum of what stands there of parties.
insert into coverage (identity, hour_us, inbound_expected, inbound_seen, outbound_expected, outbound_seen)
select 'mesh', hour_us, sum(inbound_expected), sum(inbound_seen), 0, 0 from coverage
where identity <> 'edge' and identity not like 'connections of %' and identity not like '%@%' group by hour_us;

insert into coverage (identity, hour_us, inbound_expected, inbound_seen, outbound_expected, outbound_seen)
select 'connections of mesh', hour_us, sum(inbound_expected), sum(inbound_seen), 0, 0 from coverage
where identity like 'connections of %' and identity not like '%@%' group by hour_us;
