COPY (SELECT aid, bid, abalance FROM pgbench_accounts WHERE aid <= 20000) TO :'file';
CREATE TABLE copied (aid int, bid int, abalance int);
COPY copied FROM :'file';
SELECT count(*), count(*) - count(DISTINCT aid) FROM copied;
