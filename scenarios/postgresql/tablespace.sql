CREATE TABLESPACE beside LOCATION '/srv/postgresql/tablespace';
CREATE TABLE elsewhere TABLESPACE beside AS
    SELECT n, repeat(md5(n::text), 3) AS text FROM generate_series(1, 5000) AS n;
CHECKPOINT;
SELECT count(*) FROM elsewhere;
