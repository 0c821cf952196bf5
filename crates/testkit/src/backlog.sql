-- The table of the benchmarks: ten columns of the ordinary kinds.
CREATE TABLE events (
    id         bigint PRIMARY KEY,
    customer   integer NOT NULL,
    kind       smallint NOT NULL,
    amount     numeric(12,2) NOT NULL,
    tax        numeric(12,2),
    title      text NOT NULL,
    note       text,
    created_at timestamptz NOT NULL,
    changed_at timestamptz,
    details    jsonb
);

CREATE FUNCTION new_events(first bigint, past bigint) RETURNS SETOF events LANGUAGE sql AS $$
    SELECT n, (n * 7919 % 100000)::integer, (n % 12)::smallint, (n * 31 % 1000000) / 100.0,
           CASE WHEN n % 3 > 0 THEN (n * 17 % 100000) / 100.0 END,
           'event ' || n || ' of ' || md5(n::text), CASE WHEN n % 4 > 0 THEN 'note ' || md5((n + 1)::text) END,
           timestamptz '2024-01-01' + n * interval '1.234567 seconds', NULL::timestamptz,
           jsonb_build_object('n', n, 'tags', jsonb_build_array('a', n % 7), 'rate', (n % 100) / 10.0)
    FROM generate_series(first, past - 1) AS n
$$;

-- A transaction makes a block of 80 rows, changes 18 rows of one of the last thousand blocks and deletes the first two of
-- the block before. Changed rows are never deleted ones, so every transaction has exactly 100 changes, save the first: it
-- has no block before it.
CREATE PROCEDURE write_events(first_block bigint, past_block bigint) LANGUAGE plpgsql AS $$
DECLARE
    changed bigint;
BEGIN
    FOR block IN first_block .. past_block - 1 LOOP
        INSERT INTO events SELECT * FROM new_events(block * 80, block * 80 + 80);
        changed := greatest(0, block - (random() * 1000)::bigint) * 80 + 2 + (random() * 60)::bigint;
        UPDATE events SET amount = amount + 1, changed_at = created_at + interval '1 day', kind = kind + 1
            WHERE id >= changed AND id < changed + 18;
        DELETE FROM events WHERE id IN ((block - 1) * 80, (block - 1) * 80 + 1);
        COMMIT;
    END LOOP;
END $$;
