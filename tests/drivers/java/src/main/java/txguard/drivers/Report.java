package txguard.drivers;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;

/** What every program prints: a line of JSON for each step (see tests/conformance/main.rs). */
final class Report {
    static final String HOST = System.getenv("DRIVER_HOST");
    static final String PORT = System.getenv("DRIVER_PORT");
    static final String USER = System.getenv("DRIVER_USER");
    static final String PASSWORD = System.getenv("DRIVER_PASSWORD");
    static final String SCHEMA = System.getenv("DRIVER_SCHEMA");
    static final boolean IS_TIDB = "tidb".equals(System.getenv("DRIVER_SERVER"));
    static final String TLS_CA = System.getenv("DRIVER_TLS_CA");
    static final boolean COMPRESS = System.getenv("DRIVER_COMPRESS") != null;
    static final boolean FULL = System.getenv("TXGUARD_TEST_FULL") != null;

    /** At and around the places where a length is encoded otherwise. */
    static final int[] SMALL = {0, 1, 250, 251, 252, 65535, 65536};

    /** More than one frame of the protocol holds. */
    static final int BIG = 17 << 20;

    /** Longer values are shown by their digest. */
    private static final int SHOWN = 300;

    /** The CA in a file as Connector/J reads it. */
    private static final Path TRUST = TLS_CA == null ? null : trust();

    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Report() {}

    /** A connection that was lost, as it should be; how a driver says so depends on the moment. */
    static final class Lost extends Exception {}

    /** The address of the schema, with properties of Connector/J. */
    static String url(String schema, String... properties) {
        List<String> all = new ArrayList<>(List.of("allowPublicKeyRetrieval=true", "maxAllowedPacket=67108864",
                TLS_CA == null ? "sslMode=DISABLED" : "sslMode=VERIFY_CA&trustCertificateKeyStoreType=PKCS12"
                        + "&trustCertificateKeyStorePassword=tests&trustCertificateKeyStoreUrl=file:" + TRUST,
                "useCompression=" + COMPRESS));
        all.addAll(Arrays.asList(properties));
        return "jdbc:mysql://" + HOST + ":" + PORT + "/" + schema + "?" + String.join("&", all);
    }

    private static Path trust() {
        try (InputStream pem = Files.newInputStream(Path.of(TLS_CA))) {
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, null);
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
            Path file = Files.createTempFile("trust", ".p12");
            file.toFile().deleteOnExit();
            try (OutputStream out = Files.newOutputStream(file)) {
                store.store(out, "tests".toCharArray());
            }
            return file;
        } catch (IOException | GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Runs the action and prints what it gives, or how it fails. */
    static void step(String name, Callable<?> action) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("step", name);
        try {
            line.put("result", describe(action.call()));
        } catch (Exception | Error error) {
            if (System.getenv("DRIVER_TRACE") != null) {
                error.printStackTrace();
            }
            line.put("error", describeError(error));
        }
        OUT.println(json(line));
    }

    private static Object describeError(Throwable error) {
        if (error instanceof Lost) {
            return "lost";
        }
        Map<String, Object> described = new LinkedHashMap<>();
        described.put("class", error.getClass().getName());
        described.put("text", mask(String.valueOf(error.getMessage())));
        if (error instanceof SQLException sql) {
            described.put("code", sql.getErrorCode());
            described.put("sqlstate", sql.getSQLState());
        }
        if (error.getCause() != null && error.getCause() != error) {
            described.put("cause", describeError(error.getCause()));
        }
        return described;
    }

    /** A value with its class, so that 1 and "1" differ. */
    static Object describe(Object value) {
        if (value == null || value instanceof Boolean) {
            return value;
        }
        if (value instanceof byte[] bytes) {
            return "bytes " + shorten(HexFormat.of().formatHex(bytes));
        }
        if (value instanceof Object[] array) {
            return describe(Arrays.asList(array));
        }
        if (value instanceof int[] array) {
            return describe(Arrays.stream(array).boxed().toList());
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> described = new LinkedHashMap<>();
            map.forEach((key, item) -> described.put(String.valueOf(key), describe(item)));
            return described;
        }
        if (value instanceof Iterable<?> items) {
            List<Object> described = new ArrayList<>();
            items.forEach(item -> described.add(describe(item)));
            return described.size() > 300 ? described.size() + " items " + digest(json(described)) : described;
        }
        return value.getClass().getSimpleName() + " " + shorten(value.toString());
    }

    /** All results of a statement that was executed. */
    static Object results(Statement statement, boolean isRows) throws SQLException {
        List<Object> results = new ArrayList<>();
        boolean rows = isRows;
        while (rows || statement.getUpdateCount() != -1) {
            if (rows) {
                try (ResultSet set = statement.getResultSet()) {
                    results.add(rows(set));
                }
            } else {
                results.add(statement.getUpdateCount());
            }
            rows = statement.getMoreResults();
        }
        return results;
    }

    static Object rows(ResultSet set) throws SQLException {
        ResultSetMetaData meta = set.getMetaData();
        List<Object> columns = new ArrayList<>();
        for (int at = 1; at <= meta.getColumnCount(); at++) {
            columns.add(String.join(" ", meta.getColumnLabel(at), meta.getColumnTypeName(at),
                    meta.getColumnClassName(at), "" + meta.getPrecision(at), "" + meta.getScale(at),
                    "" + meta.isNullable(at), "" + meta.isSigned(at), "" + meta.isAutoIncrement(at)));
        }
        List<Object> rows = new ArrayList<>();
        while (set.next()) {
            List<Object> row = new ArrayList<>();
            for (int at = 1; at <= meta.getColumnCount(); at++) {
                row.add(get(set, at));
            }
            rows.add(row);
        }
        return List.of(columns, rows);
    }

    /** As an object and as text; where one fails, why. */
    private static Object get(ResultSet set, int at) {
        List<Object> both = new ArrayList<>();
        for (boolean asText : new boolean[] {false, true}) {
            try {
                both.add(asText ? set.getString(at) : set.getObject(at));
            } catch (SQLException error) {
                both.add(error.getClass().getSimpleName() + " " + error.getMessage());
            }
        }
        return both;
    }

    /** Without the address, which is another one through txguard. */
    private static String mask(String text) {
        // A lost connection tells how long ago it was used.
        return shorten(text.replace(PORT, "PORT").replaceAll("[\\d,]+ milliseconds", "N milliseconds"));
    }

    private static String shorten(String text) {
        return text.length() <= SHOWN ? text : text.substring(0, 20) + "… " + text.length() + " " + digest(text);
    }

    static String digest(String text) {
        return digest(text.getBytes(StandardCharsets.UTF_8));
    }

    static String digest(byte[] data) {
        try {
            byte[] sum = MessageDigest.getInstance("SHA-256").digest(data);
            return HexFormat.of().formatHex(sum, 0, 8);
        } catch (java.security.NoSuchAlgorithmException impossible) {
            throw new AssertionError(impossible);
        }
    }

    /** Bytes of every value, the same each time. */
    static byte[] blob(int size) {
        byte[] data = new byte[size];
        for (int at = 0; at < size; at++) {
            data[at] = (byte) (at * 7 + (at >> 8));
        }
        return data;
    }

    private static String json(Object value) {
        if (value instanceof Map<?, ?> map) {
            List<String> items = new ArrayList<>();
            map.forEach((key, item) -> items.add(quote(key.toString()) + ": " + json(item)));
            return "{" + String.join(", ", items) + "}";
        }
        if (value instanceof List<?> list) {
            return "[" + String.join(", ", list.stream().map(Report::json).toList()) + "]";
        }
        return value instanceof String text ? quote(text) : String.valueOf(value);
    }

    private static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        text.chars().forEach(c -> {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append((char) c);
            } else if (c < ' ' || Character.isSurrogate((char) c)) {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.append((char) c);
            }
        });
        return quoted.append('"').toString();
    }
}
