-- What the later steps need: a role, extensions, a function, and a table that depends on the seed.
SET password_encryption = 'scram-sha-256';
\set password 'teller-' :seed
CREATE ROLE teller LOGIN PASSWORD :'password';
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO teller;
CREATE EXTENSION pgcrypto;
CREATE EXTENSION dblink;
CREATE FUNCTION fibonacci(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN n < 2 THEN n ELSE fibonacci(n - 1) + fibonacci(n - 2) END;
END $$;
CREATE TABLE kept AS SELECT encode(digest(:'seed', 'sha256'), 'hex') AS hash;
SELECT hash FROM kept;
SELECT 'plpgsql ' || fibonacci(10);
