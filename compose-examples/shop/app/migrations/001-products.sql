CREATE TABLE products (name text PRIMARY KEY, price_cents integer NOT NULL);
