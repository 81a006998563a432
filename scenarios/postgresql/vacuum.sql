DELETE FROM copied WHERE aid > 10000;
SELECT pg_relation_size('copied') AS before \gset
VACUUM (FULL, ANALYZE) copied;
REINDEX TABLE pgbench_branches;
SELECT count(*), pg_relation_size('copied') < :before FROM copied;
