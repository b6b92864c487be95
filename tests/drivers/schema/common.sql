-- What every program in tests/drivers finds in its schema. A statement ends with a semicolon at the end of a line.
-- The programs read the columns of `extremes`, and the statements of `asked` and `refused`, from here.

-- Zero dates and the like are wanted.
SET SESSION sql_mode = '';
SET SESSION time_zone = '+00:00';

-- 1: smallest, 2: largest, 3: NULL, 4: zero, empty, or what is worth a look besides.
CREATE TABLE extremes (
    id INT PRIMARY KEY,
    c_tinyint TINYINT,
    c_tinyint_unsigned TINYINT UNSIGNED,
    c_boolean BOOLEAN,
    c_smallint SMALLINT,
    c_smallint_unsigned SMALLINT UNSIGNED,
    c_mediumint MEDIUMINT,
    c_mediumint_unsigned MEDIUMINT UNSIGNED,
    c_int INT,
    c_int_unsigned INT UNSIGNED,
    c_bigint BIGINT,
    c_bigint_unsigned BIGINT UNSIGNED,
    c_zerofill INT(10) UNSIGNED ZEROFILL,
    c_decimal DECIMAL(65, 0),
    c_decimal_fraction DECIMAL(65, 30),
    c_decimal_money DECIMAL(10, 2),
    c_float FLOAT,
    c_double DOUBLE,
    c_bit BIT(1),
    c_bit_long BIT(64),
    c_date DATE,
    c_datetime DATETIME,
    c_datetime_fraction DATETIME(6),
    c_timestamp TIMESTAMP NULL,
    c_timestamp_fraction TIMESTAMP(6) NULL,
    c_time TIME,
    c_time_fraction TIME(6),
    c_year YEAR,
    c_char CHAR(255),
    c_varchar VARCHAR(1000),
    c_varchar_latin1 VARCHAR(100) CHARACTER SET latin1,
    c_binary BINARY(16),
    c_varbinary VARBINARY(1000),
    c_tinytext TINYTEXT,
    c_text TEXT,
    c_mediumtext MEDIUMTEXT,
    c_longtext LONGTEXT,
    c_tinyblob TINYBLOB,
    c_blob BLOB,
    c_mediumblob MEDIUMBLOB,
    c_longblob LONGBLOB,
    c_enum ENUM('', 'one', '😀'),
    c_set SET('x', 'y', '😀'),
    c_json JSON
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE copy LIKE extremes;

INSERT INTO extremes VALUES (
    1, -128, 0, FALSE, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 0,
    -99999999999999999999999999999999999999999999999999999999999999999,
    -99999999999999999999999999999999999.999999999999999999999999999999, -99999999.99,
    -3.402823466e38, -1.7976931348623157e308, b'0', b'0',
    '1000-01-01', '1000-01-01 00:00:00', '1000-01-01 00:00:00.000001',
    '1970-01-01 00:00:01', '1970-01-01 00:00:01.000001', '-838:59:59', '-838:59:58.999999', 1901,
    'a', 'a', 'a', X'00', X'00', 'a', 'a', 'a', 'a', X'00', X'00', X'00', X'00', '', 'x', '{}'
);
INSERT INTO extremes VALUES (
    2, 127, 255, TRUE, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807,
    18446744073709551615, 4294967295,
    99999999999999999999999999999999999999999999999999999999999999999,
    99999999999999999999999999999999999.999999999999999999999999999999, 99999999.99,
    3.402823466e38, 1.7976931348623157e308, b'1',
    b'1111111111111111111111111111111111111111111111111111111111111111',
    '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999',
    '2038-01-19 03:14:07', '2038-01-19 03:14:07.999999', '838:59:59', '838:59:58.999999', 2155,
    REPEAT('😀', 255), REPEAT('😀', 1000), REPEAT('ÿ', 100), REPEAT(X'FF', 16), REPEAT(X'FF', 1000),
    REPEAT('😀', 63), REPEAT('😀', 16383), REPEAT('😀', 20000), REPEAT('😀', 70000),
    REPEAT(X'FF', 255), REPEAT(X'FE', 65535), REPEAT(X'FB', 65536), REPEAT(X'00', 300000), '😀', 'x,y,😀',
    '{"text": "😀", "list": [1, -2.5, null, true, "\\"\\n"], "deep": {"a": {"b": {}}}}'
);
INSERT INTO extremes (id) VALUES (3);
INSERT INTO extremes VALUES (
    4, 0, 128, TRUE, 0, 32768, 0, 8388608, 0, 2147483648, 0, 9223372036854775808, 7,
    0, 0.000000000000000000000000000001, -0.01,
    1.17549435e-38, 2.2250738585072014e-308, b'1', b'101',
    '0000-00-00', '0000-00-00 00:00:00', '2024-02-29 12:34:56.789012',
    '2024-02-29 12:34:56', '2024-02-29 12:34:56.789012', '00:00:00', '-00:00:00.000001', 0,
    '', '', '', '', '', '', '', '', '', '', '', '', '', 'one', '', 'null'
);

-- For transactions.
CREATE TABLE item (
    id INT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    n INT NOT NULL DEFAULT 0,
    UNIQUE KEY by_name (name)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- For big values, whose bytes the programs make themselves.
CREATE TABLE big (id INT PRIMARY KEY, v LONGBLOB);

CREATE TABLE many (n INT PRIMARY KEY, name VARCHAR(30) NOT NULL);
INSERT INTO many
    SELECT a.d + 10 * b.d + 100 * c.d, CONCAT('row ', a.d + 10 * b.d + 100 * c.d)
    FROM (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
          UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) a,
         (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
          UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) b,
         (SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6
          UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) c;

CREATE TABLE asked (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL, statement TEXT NOT NULL)
    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO asked (name, statement) VALUES
    ('one', 'SELECT 1'),
    ('no row', 'SELECT 1 FROM many WHERE n < 0'),
    ('thousand rows', 'SELECT n, name FROM many ORDER BY n'),
    ('null', 'SELECT NULL, NULL AS n'),
    ('names', 'SELECT 1 AS `ünï`, 2 AS `日本`, 3 AS `a b`, 4 AS `a b`'),
    ('a name outside the BMP', 'SELECT 1 AS `😀`'),
    ('literals', 'SELECT 18446744073709551615, -9223372036854775808, 1.5, 1e308, ''text'', X''00FF'', b''101'', TRUE, DATE ''2024-02-29'', TIMESTAMP ''2024-02-29 01:02:03.000004'', TIME ''-01:02:03.5'''),
    ('joined', 'SELECT a.n, b.name FROM many a JOIN many b ON b.n = a.n + 1 WHERE a.n < 5 ORDER BY a.n'),
    ('comment', '/* first */ SELECT /* second */ 2 -- last'),
    ('division by zero', 'SELECT 1 / 0'),
    ('warnings', 'SHOW WARNINGS'),
    ('insert', 'INSERT INTO item (name) VALUES (''first'')'),
    ('insert several', 'INSERT INTO item (name, n) VALUES (''second'', 2), (''third'', 3)'),
    ('insert ignore', 'INSERT IGNORE INTO item (name) VALUES (''first''), (''fourth'')'),
    ('upsert', 'INSERT INTO item (name, n) VALUES (''third'', 1) ON DUPLICATE KEY UPDATE n = n + 10'),
    ('replace', 'REPLACE INTO item (id, name, n) VALUES (1, ''first'', 5)'),
    ('update nothing', 'UPDATE item SET n = 5 WHERE id = 1'),
    ('update', 'UPDATE item SET n = n + 1'),
    ('truncated', 'INSERT IGNORE INTO item (name, n) VALUES (''fifth'', 99999999999)'),
    ('delete', 'DELETE FROM item WHERE name <> ''first'''),
    ('select', 'SELECT name, n FROM item ORDER BY id'),
    ('delete all', 'DELETE FROM item'),
    ('set', 'SET @a = 1, @b = ''😀'''),
    ('user variables', 'SELECT @a, @b, @c'),
    ('show tables', 'SHOW TABLES'),
    ('show columns', 'SHOW FULL COLUMNS FROM extremes'),
    ('show create', 'SHOW CREATE TABLE item'),
    ('describe', 'DESCRIBE item'),
    ('do', 'DO 1'),
    ('union', 'SELECT n FROM many WHERE n < 3 UNION ALL SELECT NULL ORDER BY 1'),
    ('wide', CONCAT('SELECT 0', (SELECT GROUP_CONCAT(CONCAT(', ', n) ORDER BY n SEPARATOR '') FROM many WHERE n < 200)));

CREATE TABLE refused (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(60) NOT NULL, statement TEXT NOT NULL)
    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO refused (name, statement) VALUES
    ('syntax', 'SELEC 1'),
    ('syntax in utf8', 'SELECT ''😀'' FRO ünï'),
    ('no table', 'SELECT * FROM nowhere'),
    ('no column', 'SELECT nothing FROM item'),
    ('no schema', 'SELECT * FROM nowhere.item'),
    ('no function', 'SELECT nonsense(1)'),
    ('duplicate', 'INSERT INTO many VALUES (1, ''again'')'),
    ('not null', 'INSERT INTO item (name) VALUES (NULL)'),
    ('too long', CONCAT('INSERT INTO item (name) VALUES (''', REPEAT('x', 101), ''')')),
    ('out of range', 'INSERT INTO item (name, n) VALUES (''x'', 99999999999)'),
    ('bad date', 'INSERT INTO extremes (id, c_date) VALUES (99, ''2024-02-30'')'),
    ('bad json', 'INSERT INTO extremes (id, c_json) VALUES (99, ''{'')'),
    ('bad enum', 'INSERT INTO extremes (id, c_enum) VALUES (99, ''three'')'),
    ('column count', 'INSERT INTO many VALUES (1)'),
    ('ambiguous', 'SELECT n FROM many a JOIN many b ON a.n = b.n'),
    ('subquery rows', 'SELECT (SELECT n FROM many)'),
    ('table exists', 'CREATE TABLE item (id INT)'),
    ('unknown variable', 'SET SESSION nonsense = 1'),
    ('no schema to use', 'USE nowhere'),
    ('no savepoint', 'ROLLBACK TO SAVEPOINT nowhere'),
    ('two statements', 'SELECT 1; SELECT 2');
