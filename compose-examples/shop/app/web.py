"""Lists the products. It trusts that the tables are there: it starts behind the migration."""

import psycopg2
from database import connect
from pages import Pages, serve


class Handler(Pages):
    """Every path answers with the products."""

    def do_GET(self) -> None:
        """Answer a request of this method."""
        try:
            with connect() as connection, connection.cursor() as cursor:
                cursor.execute("SELECT name, price_cents FROM products ORDER BY name")
                rows = [f"{name} {cents / 100:.2f}\n" for name, cents in cursor.fetchall()]
        except psycopg2.Error as error:
            self.answer(503, f"{error}\n")
            return
        self.answer(200, "".join(rows))


if __name__ == "__main__":
    serve(Handler, 8000)
