SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET jit = off;
EXPLAIN (ANALYZE, COSTS OFF) SELECT count(*), sum(abalance) FROM pgbench_accounts WHERE aid % 2 = 0;
