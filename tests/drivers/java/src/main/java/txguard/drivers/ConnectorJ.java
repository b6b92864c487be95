package txguard.drivers;

import static txguard.drivers.Report.FULL;
import static txguard.drivers.Report.IS_TIDB;
import static txguard.drivers.Report.PASSWORD;
import static txguard.drivers.Report.SCHEMA;
import static txguard.drivers.Report.USER;
import static txguard.drivers.Report.blob;
import static txguard.drivers.Report.results;
import static txguard.drivers.Report.rows;
import static txguard.drivers.Report.step;
import static txguard.drivers.Report.url;

import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** MySQL Connector/J: text, prepared by the client, by the server, with cursors; pool, batches, LOCAL INFILE. */
public final class ConnectorJ {
    private static final String ITEMS = "SELECT name, n FROM item ORDER BY name";

    private final String kind;
    private final String[] properties;
    private final Connection connection;

    private ConnectorJ(String kind, String... properties) throws SQLException {
        this.kind = kind;
        this.properties = properties;
        connection = connect(properties);
    }

    public static void main(String[] arguments) throws Exception {
        logins();
        new ConnectorJ("text").run();
        new ConnectorJ("prepared", "useServerPrepStmts=true", "cachePrepStmts=true").run();
        new ConnectorJ("cursor", "useCursorFetch=true", "defaultFetchSize=2").run();
        transactions();
        metadata();
        batches();
        several();
        localInfile();
        pool();
        lost();
    }

    private static Connection connect(String... properties) throws SQLException {
        return DriverManager.getConnection(url(SCHEMA, properties), USER, PASSWORD);
    }

    private static void logins() {
        Map<String, Callable<Connection>> cases = new LinkedHashMap<>();
        cases.put("login", ConnectorJ::connect);
        cases.put("wrong password", () -> DriverManager.getConnection(url(SCHEMA), USER, "wrong"));
        cases.put("no password", () -> DriverManager.getConnection(url(SCHEMA), USER, ""));
        cases.put("unknown user", () -> DriverManager.getConnection(url(SCHEMA), "nobody", PASSWORD));
        cases.put("unknown schema", () -> DriverManager.getConnection(url("nowhere"), USER, PASSWORD));
        cases.put("no schema", () -> DriverManager.getConnection(url(""), USER, PASSWORD));
        cases.put("time zone", () -> connect("connectionTimeZone=%2B05:00", "forceConnectionTimeZoneToSession=true"));
        cases.put("session variables", () -> connect("sessionVariables=sql_mode='ANSI'"));
        cases.put("bad session variable", () -> connect("sessionVariables=nonsense=1"));
        cases.forEach((name, open) -> step(name, () -> {
            try (Connection connection = open.call()) {
                return query(connection, "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode,"
                        + " @@time_zone, @@collation_connection");
            }
        }));
    }

    private void run() throws SQLException {
        execute(connection, "DELETE FROM item");
        execute(connection, "ALTER TABLE item AUTO_INCREMENT = 1");
        for (String[] asked : pairs("SELECT name, statement FROM asked ORDER BY id")) {
            say("asked " + asked[0], () -> ask(connection, asked[1]));
        }
        for (String[] column : pairs("SELECT column_name, data_type FROM information_schema.columns WHERE"
                + " table_schema = DATABASE() AND table_name = 'extremes' AND column_name <> 'id'"
                + " ORDER BY ordinal_position")) {
            say("read " + column[0], () -> ask(connection, "SELECT id, " + column[0] + " FROM extremes ORDER BY id"));
            say("write " + column[0], () -> write(column[0]));
        }
        for (String[] refused : pairs("SELECT name, statement FROM refused ORDER BY id")) {
            say("refused " + refused[0], () -> refused(refused[1]));
        }
        big();
        prepared();
        say("thousand rows", () -> ask(connection, "SELECT n, name FROM many ORDER BY n"));
        say("half-read", () -> {
            try (Statement statement = connection.createStatement()) {
                ResultSet rows = statement.executeQuery("SELECT n FROM many ORDER BY n");
                rows.next();
            }
            return query(connection, "SELECT 1");
        });
        connection.close();
        say("closed", () -> query(connection, "SELECT 1"));
    }

    private void say(String name, Callable<?> action) {
        step(kind + ": " + name, action);
    }

    /**
     * With a cursor the driver doesn't see an error that comes where the columns should end as the end of the answer:
     * from there on it may be an answer behind, as quick as the server is. So there each has its own connection.
     */
    private Object refused(String text) throws SQLException {
        if (!kind.equals("cursor")) {
            return ask(connection, text);
        }
        try (Connection own = connect(properties)) {
            return ask(own, text);
        }
    }

    /** By text, or prepared. */
    private Object ask(Connection connection, String text) throws SQLException {
        if (kind.equals("text")) {
            return query(connection, text);
        }
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            return results(statement, statement.execute());
        }
    }

    private static Object query(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            Object results = results(statement, statement.execute(text, Statement.RETURN_GENERATED_KEYS));
            List<Object> keys = new ArrayList<>();
            try (ResultSet generated = statement.getGeneratedKeys()) {
                while (generated.next()) {
                    keys.add(generated.getObject(1));
                }
            }
            Object warning = statement.getWarnings() == null ? null
                    : List.of(statement.getWarnings().getErrorCode(), statement.getWarnings().getMessage());
            return Arrays.asList(results, keys, warning);
        }
    }

    private static void execute(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(text);
        }
    }

    private List<String[]> pairs(String text) throws SQLException {
        List<String[]> pairs = new ArrayList<>();
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(text)) {
            while (rows.next()) {
                pairs.add(new String[] {rows.getString(1), rows.getString(2)});
            }
        }
        return pairs;
    }

    /** Each value goes back as a parameter, in the encoding that the driver has for it. */
    private Object write(String column) throws SQLException {
        List<Object> said = new ArrayList<>();
        connection.setAutoCommit(false);
        try (PreparedStatement select = connection.prepareStatement(
                        "SELECT id, " + column + " FROM extremes ORDER BY id");
                PreparedStatement insert = connection.prepareStatement(
                        "INSERT INTO copy (id, " + column + ") VALUES (?, ?)")) {
            List<Object[]> values = new ArrayList<>();
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) {
                    Object value;
                    try {
                        value = rows.getObject(2);
                    } catch (SQLException error) {
                        value = rows.getString(2);
                    }
                    values.add(new Object[] {rows.getInt(1), value});
                }
            }
            for (Object[] value : values) {
                try {
                    insert.setObject(1, value[0]);
                    insert.setObject(2, value[1]);
                    said.add(insert.executeUpdate());
                } catch (SQLException error) {
                    said.add(error.getErrorCode() + " " + error.getMessage());
                }
            }
            said.add(query(connection, "SELECT c.id, c." + column + " <=> e." + column
                    + " FROM copy c JOIN extremes e USING (id) ORDER BY id"));
            return said;
        } finally {
            connection.rollback();
            connection.setAutoCommit(true);
        }
    }

    private void big() {
        // TiDB takes seconds to parse a statement of 16 MiB.
        boolean sendBig = FULL || kind.equals("prepared") || (kind.equals("text") && !IS_TIDB);
        for (int size : with(sendBig)) {
            say("send " + size + " bytes", () -> prepared("SELECT LENGTH(?), ?", blob(size), size));
        }
        for (int size : with(FULL || kind.equals("text"))) {
            say("receive " + size + " bytes", () -> query(connection, "SELECT REPEAT('x', " + size + ")"));
        }
        for (int size : new int[] {0, 65536, 1 << 20}) {
            say("store " + size + " bytes", () -> {
                try (PreparedStatement replace = connection.prepareStatement("REPLACE INTO big VALUES (1, ?)")) {
                    // In pieces, by COM_STMT_SEND_LONG_DATA where the server prepares.
                    replace.setBinaryStream(1, new ByteArrayInputStream(blob(size)), size);
                    replace.execute();
                }
                try (Statement select = connection.createStatement();
                        ResultSet rows = select.executeQuery("SELECT v FROM big WHERE id = 1")) {
                    rows.next();
                    return Arrays.equals(rows.getBytes(1), blob(size));
                }
            });
        }
    }

    private static int[] with(boolean big) {
        int[] sizes = big ? Arrays.copyOf(Report.SMALL, Report.SMALL.length + 1) : Report.SMALL;
        if (big) {
            sizes[sizes.length - 1] = Report.BIG;
        }
        return sizes;
    }

    private Object prepared(String text, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            return results(statement, statement.execute());
        }
    }

    /** What one statement says to each value. */
    private List<Object> executed(Object... values) throws SQLException {
        List<Object> said = new ArrayList<>();
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?")) {
            for (Object value : values) {
                statement.setObject(1, value);
                try (ResultSet rows = statement.executeQuery()) {
                    said.add(rows(rows));
                }
            }
        }
        return said;
    }

    private void prepared() {
        say("executed again", () -> {
            Object[] values = {1, "two 😀", 3.5, null, new byte[] {0, -1}, true, Long.MAX_VALUE,
                new java.math.BigDecimal("123.4560"), java.time.LocalDate.of(2024, 2, 29),
                java.time.LocalDateTime.of(9999, 12, 31, 23, 59, 59), java.time.LocalTime.of(1, 2, 3)};
            if (!IS_TIDB) {
                return executed(values);
            }
            // TiDB takes the first type for all, until somebody's DDL makes it plan anew.
            List<Object> said = new ArrayList<>();
            for (Object value : values) {
                said.addAll(executed(value, value));
            }
            return said;
        });
        say("parameter is missing", () -> {
            try (PreparedStatement statement = connection.prepareStatement("SELECT ?")) {
                return statement.execute();
            }
        });
        say("metadata of parameters", () -> {
            try (PreparedStatement statement = connection.prepareStatement("SELECT n, name FROM many WHERE n = ?")) {
                return List.of(statement.getParameterMetaData().getParameterCount(),
                        statement.getMetaData() == null ? "none" : statement.getMetaData().getColumnLabel(1));
            }
        });
        say("streamed", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(Integer.MIN_VALUE);
                return results(statement, statement.execute("SELECT n, name FROM many ORDER BY n"));
            }
        });
        say("fetched in parts", () -> {
            try (PreparedStatement statement = connection.prepareStatement("SELECT n FROM many WHERE n > ? ORDER BY n")) {
                statement.setFetchSize(7);
                statement.setInt(1, 900);
                return results(statement, statement.execute());
            }
        });
        say("limited", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setMaxRows(3);
                return results(statement, statement.execute("SELECT n FROM many ORDER BY n"));
            }
        });
        say("timed out", () -> {
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                return results(statement, statement.execute("SELECT SLEEP(20)"));
            }
        });
        say("after that", () -> query(connection, "SELECT 1"));
    }

    private static void transactions() throws SQLException {
        try (Connection connection = connect()) {
            for (int level : new int[] {Connection.TRANSACTION_READ_COMMITTED, Connection.TRANSACTION_REPEATABLE_READ,
                Connection.TRANSACTION_SERIALIZABLE, Connection.TRANSACTION_READ_UNCOMMITTED}) {
                String name = "transaction at level " + level;
                step(name + ": set", () -> {
                    connection.setTransactionIsolation(level);
                    return connection.getTransactionIsolation();
                });
                step(name, () -> transaction(connection));
                connection.rollback();
                connection.setAutoCommit(true);
                execute(connection, "DELETE FROM item");
            }
            connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            step("read only", () -> {
                connection.setReadOnly(true);
                try {
                    return query(connection, "INSERT INTO item (name) VALUES ('refused')");
                } finally {
                    connection.setReadOnly(false);
                }
            });
        }
    }

    private static Object transaction(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        List<Object> said = new ArrayList<>();
        said.add(query(connection, "INSERT INTO item (name) VALUES ('kept')"));
        Savepoint point = connection.setSavepoint("one");
        said.add(query(connection, "INSERT INTO item (name) VALUES ('undone')"));
        try {
            query(connection, "INSERT INTO item (name) VALUES ('undone')");
        } catch (SQLException error) {
            said.add(error.getErrorCode() + " " + error.getSQLState() + " " + error.getMessage());
        }
        connection.rollback(point);
        Savepoint unnamed = connection.setSavepoint();
        said.add(query(connection, "INSERT INTO item (name) VALUES ('released')"));
        connection.releaseSavepoint(unnamed);
        said.add(query(connection, ITEMS));
        connection.commit();
        said.add(query(connection, "INSERT INTO item (name) VALUES ('lost')"));
        connection.rollback();
        said.add(query(connection, ITEMS));
        return said;
    }

    private static void metadata() throws SQLException {
        try (Connection connection = connect()) {
            DatabaseMetaData meta = connection.getMetaData();
            step("metadata: versions", () -> List.of(meta.getDatabaseProductName(), meta.getDatabaseProductVersion(),
                    meta.getDriverVersion()));
            step("metadata: tables", () -> rows(meta.getTables(SCHEMA, null, "%", null)));
            step("metadata: columns", () -> rows(meta.getColumns(SCHEMA, null, "item", "%")));
            step("metadata: keys", () -> rows(meta.getPrimaryKeys(SCHEMA, null, "item")));
            step("metadata: indexes", () -> rows(meta.getIndexInfo(SCHEMA, null, "many", false, false)));
            step("metadata: procedures", () -> rows(meta.getProcedures(SCHEMA, null, "%")));
        }
    }

    private static void batches() throws SQLException {
        for (String property : new String[] {"rewriteBatchedStatements=false", "rewriteBatchedStatements=true",
            "useServerPrepStmts=true"}) {
            try (Connection connection = connect(property)) {
                step("batch, " + property, () -> {
                    connection.setAutoCommit(false);
                    int[] counts;
                    try (PreparedStatement insert = connection.prepareStatement(
                            "INSERT INTO item (name, n) VALUES (?, ?)")) {
                        for (int n = 0; n < 300; n++) {
                            insert.setString(1, "batch 😀 " + n);
                            insert.setInt(2, n);
                            insert.addBatch();
                        }
                        counts = insert.executeBatch();
                    }
                    connection.commit();
                    connection.setAutoCommit(true);
                    return Arrays.asList(counts, query(connection, "SELECT COUNT(*), SUM(n), MIN(name) FROM item"));
                });
                step("batch with a mistake, " + property, () -> {
                    try (Statement statement = connection.createStatement()) {
                        statement.addBatch("INSERT INTO item (name) VALUES ('one')");
                        statement.addBatch("INSERT INTO item (name) VALUES ('one')");
                        statement.addBatch("INSERT INTO item (name) VALUES ('two')");
                        return statement.executeBatch();
                    }
                });
                step("batch, there, " + property, () -> query(connection, "SELECT COUNT(*) FROM item"));
                execute(connection, "DELETE FROM item");
            }
        }
    }

    private static void several() throws SQLException {
        try (Connection connection = connect("allowMultiQueries=true")) {
            step("multi: selects", () -> query(connection, "SELECT 1; SELECT n, name FROM many WHERE n < 3; SELECT 3"));
            step("multi: mixed", () -> query(connection,
                    "INSERT INTO item (name) VALUES ('m'); SELECT name FROM item; DELETE FROM item"));
            step("multi: error in the middle", () -> query(connection, "SELECT 1; SELEC 2; SELECT 3"));
            step("multi: after it", () -> query(connection, "SELECT 4"));
            if (!IS_TIDB) {
                step("call", () -> {
                    try (CallableStatement call = connection.prepareCall("{CALL results(?, ?)}")) {
                        call.setInt(1, 3);
                        call.registerOutParameter(2, Types.INTEGER);
                        return List.of(results(call, call.execute()), call.getInt(2));
                    }
                });
                step("call, error", () -> query(connection, "CALL refuse()"));
            }
        }
    }

    private static void localInfile() throws Exception {
        Path file = Files.createTempFile("rows", "");
        try (Connection allowed = connect("allowLoadLocalInfile=true"); Connection refused = connect()) {
            String load = "LOAD DATA LOCAL INFILE '" + file + "' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)";
            StringBuilder lines = new StringBuilder();
            for (int n = 1; n <= 5000; n++) {
                lines.append(n).append("\tname 😀 ").append(n).append('\t').append(n).append('\n');
            }
            Files.writeString(file, lines, StandardCharsets.UTF_8);
            step("local infile, not allowed", () -> query(refused, load));
            step("local infile, after that", () -> query(refused, "SELECT 1"));
            step("local infile", () -> query(allowed, load));
            step("local infile, there", () -> query(allowed, "SELECT COUNT(*), SUM(n), MIN(name) FROM item"));
            step("local infile, no such file", () -> query(allowed, load.replace(file.toString(), "/not/there")));
            step("local infile, still there", () -> query(allowed, "SELECT 1"));
            execute(allowed, "DELETE FROM item");
        } finally {
            Files.delete(file);
        }
    }

    private static void pool() throws Exception {
        HikariConfig config = new HikariConfig();
        config.setJdbcUrl(url(SCHEMA));
        config.setUsername(USER);
        config.setPassword(PASSWORD);
        config.setMaximumPoolSize(4);
        config.setAutoCommit(false);
        ExecutorService threads = Executors.newFixedThreadPool(8);
        try (HikariDataSource pool = new HikariDataSource(config)) {
            step("pool: forty at once", () -> {
                List<Future<Integer>> done = new ArrayList<>();
                for (int number = 0; number < 40; number++) {
                    int n = number;
                    done.add(threads.submit(() -> add(pool, n)));
                }
                int sum = 0;
                for (Future<Integer> one : done) {
                    sum += one.get();
                }
                return sum;
            });
            try (Connection connection = pool.getConnection()) {
                step("pool: there", () -> query(connection, "SELECT COUNT(*), SUM(n), MIN(name) FROM item"));
                execute(connection, "DELETE FROM item");
                connection.commit();
            }
        } finally {
            threads.shutdown();
        }
    }

    private static int add(HikariDataSource pool, int n) throws SQLException {
        try (Connection connection = pool.getConnection();
                PreparedStatement insert = connection.prepareStatement("INSERT INTO item (name, n) VALUES (?, ?)")) {
            insert.setString(1, "pooled 😀 " + n);
            insert.setInt(2, n);
            int count = insert.executeUpdate();
            connection.commit();
            return count;
        }
    }

    private static void lost() throws SQLException {
        try (Connection connection = connect(); Connection victim = connect()) {
            step("valid", () -> victim.isValid(5));
            step("change schema", () -> {
                connection.setCatalog("information_schema");
                String other = connection.getCatalog();
                connection.setCatalog(SCHEMA);
                return List.of(other, connection.getCatalog());
            });
            step("killed", () -> {
                long id = victim.unwrap(com.mysql.cj.jdbc.JdbcConnection.class).getId();
                execute(connection, "KILL " + id);
                for (int n = 0; n < 2000; n++) {
                    try {
                        execute(victim, "DO 1");
                    } catch (SQLException error) {
                        throw new Report.Lost();
                    }
                    Thread.sleep(10);
                }
                return "still there";
            });
            step("valid no more", () -> victim.isValid(5));
            step("after a kill", () -> query(connection, "SELECT 1"));
        }
    }
}
