INSERT INTO products VALUES ('kettle', 3900), ('teapot', 2450);
