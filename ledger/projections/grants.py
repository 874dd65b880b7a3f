"""Who may read the views in PostgreSQL. A role that is granted them reads no table, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, text

from ledger.projections.views import VIEWS


def statements(connection: Connection, role: str, names: Sequence[str] | None = None) -> list[str]:
    """What lets a role read views, default all of them; one that is not there yet is made."""
    schema, database, role_name, is_there = connection.execute(
        text(
            "SELECT quote_ident(current_schema()), quote_ident(current_database()), quote_ident(:role), "
            "EXISTS (SELECT FROM pg_roles WHERE rolname = :role)"
        ),
        {"role": role},
    ).one()
    views = names if names is not None else [view.name for view in VIEWS]
    apart = schema != "public"
    shown = ", ".join(f"{schema}.{view}" if apart else view for view in views)
    return [
        *([] if is_there else [f"CREATE ROLE {role_name} LOGIN"]),
        f"GRANT USAGE ON SCHEMA {schema} TO {role_name}",
        f"GRANT SELECT ON {shown} TO {role_name}",
        *([f"ALTER ROLE {role_name} IN DATABASE {database} SET search_path = {schema}"] if apart else []),
    ]


def readers(connection: Connection) -> dict[str, list[str]]:
    """The views that each role but their owner was granted, by the role's name as SQL has it: what is made anew is granted anew."""
    query = text(
        "SELECT CASE grants.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grants.grantee)) END, pg_class.relname "
        "FROM pg_class, aclexplode(pg_class.relacl) AS grants WHERE pg_class.relkind = 'v' AND pg_class.relname IN :views "
        "AND pg_class.relnamespace = CAST(quote_ident(current_schema()) AS regnamespace) AND grants.privilege_type = 'SELECT' "
        "AND grants.grantee <> pg_class.relowner ORDER BY 1, 2"
    ).bindparams(bindparam("views", expanding=True))
    found: dict[str, list[str]] = {}
    for role, view in connection.execute(query, {"views": [view.name for view in VIEWS]}):
        found.setdefault(role, []).append(view)
    return found


def grant(connection: Connection, granted: dict[str, list[str]]) -> None:
    """To roles as `readers` names them."""
    for role, views in granted.items():
        connection.exec_driver_sql(f"GRANT SELECT ON {', '.join(views)} TO {role}")
