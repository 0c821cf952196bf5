-- A small shop: parents and children, keys of one and two columns, a table without a key, and every type that the
-- pipeline carries. Deleting a customer takes the orders along, and changing an order's number renames its lines.
CREATE TABLE customers (
    id         integer PRIMARY KEY,
    name       varchar(80) NOT NULL,
    email      text,
    balance    numeric(10,2) NOT NULL DEFAULT 0,
    active     boolean NOT NULL DEFAULT true,
    rating     real,
    score      double precision,
    born       date,
    created_at timestamptz NOT NULL,
    seen_at    timestamp,
    token      uuid NOT NULL,
    profile    jsonb,
    avatar     bytea,
    notes      text
);
CREATE TABLE orders (
    id          bigint PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers ON DELETE CASCADE,
    status      varchar(16) NOT NULL,
    total       numeric(10,2),
    placed_at   timestamptz NOT NULL,
    shipped_at  timestamp,
    details     jsonb
);
CREATE INDEX ON orders (customer_id);
CREATE TABLE order_lines (
    order_id bigint REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE,
    line     integer,
    sku      text NOT NULL,
    quantity integer NOT NULL,
    price    numeric(10,2) NOT NULL,
    gift     boolean,
    PRIMARY KEY (order_id, line)
);
CREATE TABLE visits (
    customer_id integer,
    page        text,
    seconds     real,
    at          timestamptz
);
ALTER TABLE visits REPLICA IDENTITY FULL;
