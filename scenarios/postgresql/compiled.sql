-- The second query would succeed without compiling too: only its plan tells.
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
EXPLAIN ANALYZE SELECT sum(n * 2 + 1), avg(n) FROM generate_series(1, 20000) AS n WHERE n % 3 = 0;
