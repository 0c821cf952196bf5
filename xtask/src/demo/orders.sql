-- The orders as they are now, from the files of all commits less the removed ones: the newest row of each key, unless it
-- was deleted or a truncate came after it.
SET VARIABLE lake = './lake';
CREATE TEMP TABLE files AS WITH c AS (SELECT * FROM read_json(getvariable('lake') || '/_millrace/commits/*/*.json',
    columns = {files: 'STRUCT(path VARCHAR, "table" VARCHAR)[]', removed: 'VARCHAR[]'})), gone AS (SELECT unnest(removed) p FROM c)
  SELECT f.path, f."table" t FROM (SELECT unnest(files) f FROM c) WHERE f.path NOT IN (SELECT p FROM gone);
SET VARIABLE orders = (SELECT list(getvariable('lake') || '/' || path) FROM files WHERE t = 'shop.public.orders');
CREATE TEMP TABLE orders AS WITH r AS (FROM read_parquet(getvariable('orders'), union_by_name = true))
SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY _sequence DESC, _op = 'r' DESC, _snapshot::BIGINT DESC) AS _newest FROM r
               WHERE _sequence >= (SELECT coalesce(max(_sequence), 0) FROM r WHERE _op = 't')) WHERE _newest = 1 AND _op NOT IN ('d', 't');
SELECT status, count(*) AS orders, sum(total) AS total, max(_commit_ts) AS last_change FROM orders GROUP BY status ORDER BY status;
