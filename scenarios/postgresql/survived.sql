SELECT (SELECT hash = encode(digest(:'seed', 'sha256'), 'hex') FROM kept), (SELECT count(*) FROM pgbench_history),
    current_setting('work_mem');
SELECT count(*) FROM elsewhere;
