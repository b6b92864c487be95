-- What only MariaDB has. Runs after common.sql.

ALTER TABLE extremes ADD COLUMN c_point POINT, ADD COLUMN c_uuid UUID, ADD COLUMN c_inet6 INET6;
ALTER TABLE copy ADD COLUMN c_point POINT, ADD COLUMN c_uuid UUID, ADD COLUMN c_inet6 INET6;
UPDATE extremes SET c_point = POINT(-1, -1e300), c_uuid = '00000000-0000-0000-0000-000000000000', c_inet6 = '::'
    WHERE id = 1;
UPDATE extremes SET c_point = POINT(1, 1e300), c_uuid = 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    c_inet6 = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff' WHERE id = 2;

CREATE PROCEDURE results(IN a INT, OUT doubled INT)
    BEGIN SELECT a AS first; SELECT n, name FROM many WHERE n < a ORDER BY n; SET doubled = 2 * a; END;
CREATE PROCEDURE refuse() SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = 'refused 😀';

INSERT INTO asked (name, statement) VALUES
    ('returning', 'INSERT INTO item (name) VALUES (''returned'') RETURNING name, n'),
    ('delete returning', 'DELETE FROM item RETURNING name'),
    ('sequence', 'SELECT seq FROM seq_1_to_5');

INSERT INTO refused (name, statement) VALUES
    ('signal', 'CALL refuse()'),
    ('no procedure', 'CALL nowhere()'),
    ('wrong arguments', 'CALL results(1)');
