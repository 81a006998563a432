SET work_mem = '64kB';
SET max_parallel_workers_per_gather = 0;
EXPLAIN (ANALYZE, COSTS OFF) SELECT md5(aid::text) FROM pgbench_accounts WHERE aid <= 60000 ORDER BY 1;
