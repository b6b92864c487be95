package txguard.drivers;

import static txguard.drivers.Report.PASSWORD;
import static txguard.drivers.Report.SCHEMA;
import static txguard.drivers.Report.USER;
import static txguard.drivers.Report.blob;
import static txguard.drivers.Report.step;
import static txguard.drivers.Report.url;

import jakarta.persistence.CascadeType;
import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.EnumType;
import jakarta.persistence.Enumerated;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.LockModeType;
import jakarta.persistence.ManyToOne;
import jakarta.persistence.OneToMany;
import jakarta.persistence.OrderBy;
import jakarta.persistence.Table;
import jakarta.persistence.Version;
import java.math.BigDecimal;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.logging.Level;
import java.util.logging.Logger;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** Hibernate over Connector/J: schema creation, entities, transactions, locks, versions, batches. */
public final class Hibernate {
    private static SessionFactory sessions;

    private Hibernate() {}

    enum Colour { RED, BLUE }

    @Entity(name = "Author")
    @Table(name = "hibernate_author")
    static class Author {
        @Id
        @GeneratedValue(strategy = GenerationType.IDENTITY)
        Long id;

        @Column(unique = true, nullable = false, length = 100)
        String name;

        Long big;
        Short small;
        Byte tiny;
        Boolean flag;

        @Column(precision = 40, scale = 10)
        BigDecimal price;

        Double ratio;
        LocalDate day;
        LocalDateTime moment;
        UUID identifier;

        @Column(length = 16_000_000)
        String text;

        @Column(length = 16_000_000)
        byte[] data;

        @Enumerated(EnumType.STRING)
        Colour colour;

        @Version
        int version;

        @OneToMany(mappedBy = "author", cascade = CascadeType.ALL, orphanRemoval = true)
        @OrderBy("title")
        List<Book> books = new ArrayList<>();

        Object show() {
            return Arrays.asList(name, big, small, tiny, flag, price, ratio, day, moment, identifier, text, data,
                    colour, version, books.stream().map(book -> book.title).limit(3).toList(), books.size());
        }
    }

    @Entity(name = "Book")
    @Table(name = "hibernate_book")
    static class Book {
        @Id
        @GeneratedValue(strategy = GenerationType.SEQUENCE)
        Long id;

        String title;

        @ManyToOne
        Author author;
    }

    public static void main(String[] arguments) {
        Logger.getLogger("").setLevel(Level.OFF);
        step("start", () -> {
            sessions = configuration().buildSessionFactory();
            return true;
        });
        Map<String, Callable<?>> steps = new LinkedHashMap<>();
        steps.put("write", () -> in(session -> {
            session.persist(smallest());
            session.persist(largest());
            session.persist(named("nothing"));
            return true;
        }));
        steps.put("read", () -> in(Hibernate::all));
        steps.put("find", () -> in(session -> find(session, "largest 😀").show()));
        steps.put("change", () -> in(session -> {
            Author author = find(session, "nothing");
            author.small = 7;
            author.books.remove(0);
            return author.books.size();
        }, "nothing"));
        steps.put("changed", () -> in(Hibernate::all));
        steps.put("query", () -> in(session -> session.createQuery(
                "select a.name, count(b), max(b.title) from Author a left join a.books b group by a.name order by a.name",
                Object[].class).getResultList()));
        steps.put("page", () -> in(session -> session.createQuery("select title from Book order by title", String.class)
                .setFirstResult(3).setMaxResults(4).getResultList()));
        steps.put("update", () -> in(session -> session.createMutationQuery(
                "update Author set tiny = 5 where name like 'n%'").executeUpdate()));
        steps.put("native", () -> in(session -> session.createNativeQuery(
                "SELECT n, name FROM many WHERE n < :n ORDER BY n", Object[].class).setParameter("n", 3).getResultList()));
        steps.put("locked", () -> in(session -> {
            Author author = find(session, "nothing");
            session.lock(author, LockModeType.PESSIMISTIC_WRITE);
            Author other = find(session, "smallest");
            session.lock(other, LockModeType.PESSIMISTIC_FORCE_INCREMENT);
            return List.of(author.version, other.version);
        }));
        steps.put("stale version", Hibernate::stale);
        steps.put("duplicate", () -> in(session -> {
            session.persist(named("nothing"));
            return true;
        }));
        steps.put("too long", () -> in(session -> {
            session.persist(named("x".repeat(101)));
            return true;
        }));
        steps.put("no table", () -> in(session -> session.createNativeQuery("SELECT * FROM nowhere", Object[].class)
                .getResultList()));
        steps.put("rolled back", () -> {
            try (Session session = sessions.openSession()) {
                session.beginTransaction();
                session.persist(named("lost"));
                session.flush();
                session.getTransaction().rollback();
            }
            return in(session -> session.createQuery("select name from Author order by name", String.class)
                    .getResultList());
        });
        steps.put("many", () -> in(session -> {
            for (int n = 0; n < 300; n++) {
                Book book = new Book();
                book.title = "many " + n;
                session.persist(book);
            }
            session.flush();
            session.clear();
            return session.createQuery("select count(b) from Book b", Long.class).getSingleResult();
        }));
        steps.put("scrolled", () -> in(session -> {
            try (var titles = session.createQuery("select title from Book order by title", String.class)
                    .setFetchSize(50).getResultStream()) {
                return titles.mapToInt(String::length).sum();
            }
        }));
        steps.put("delete", () -> in(session -> {
            session.remove(find(session, "nothing"));
            return session.createMutationQuery("delete from Book where author is null").executeUpdate();
        }));
        steps.put("deleted", () -> in(Hibernate::all));
        steps.put("end", () -> {
            sessions.getSchemaManager().drop(false);
            sessions.close();
            return true;
        });
        steps.forEach(Report::step);
    }

    private static Configuration configuration() {
        return new Configuration()
                .addAnnotatedClass(Author.class)
                .addAnnotatedClass(Book.class)
                .setProperty("hibernate.dialect", Report.IS_TIDB ? "org.hibernate.community.dialect.TiDBDialect"
                        : "org.hibernate.dialect.MariaDBDialect")
                .setProperty("hibernate.connection.url", url(SCHEMA, "useServerPrepStmts=true"))
                .setProperty("hibernate.connection.username", USER)
                .setProperty("hibernate.connection.password", PASSWORD)
                .setProperty("hibernate.connection.pool_size", "4")
                .setProperty("hibernate.jdbc.batch_size", "50")
                .setProperty("hibernate.hbm2ddl.auto", "create");
    }

    private interface Work {
        Object in(Session session) throws Exception;
    }

    private static Object in(Work work) throws Exception {
        return in(work, null);
    }

    /** In a transaction; first gives the author of that name three books. */
    private static Object in(Work work, String name) throws Exception {
        try (Session session = sessions.openSession()) {
            var transaction = session.beginTransaction();
            try {
                if (name != null) {
                    Author author = find(session, name);
                    for (int n = 0; n < 3; n++) {
                        Book book = new Book();
                        book.title = "book " + n + " 😀";
                        book.author = author;
                        author.books.add(book);
                    }
                    session.flush();
                }
                Object result = work.in(session);
                transaction.commit();
                return result;
            } catch (Exception error) {
                if (transaction.isActive()) {
                    transaction.rollback();
                }
                throw error;
            }
        }
    }

    private static Object all(Session session) {
        return session.createQuery("from Author order by name", Author.class).getResultList().stream()
                .map(Author::show).toList();
    }

    private static Author find(Session session, String name) {
        return session.createQuery("from Author where name = :name", Author.class).setParameter("name", name)
                .getSingleResult();
    }

    /** Two change what they have read; the second must fail. */
    private static Object stale() {
        try (Session one = sessions.openSession(); Session two = sessions.openSession()) {
            Author first = find(one, "nothing");
            Author second = find(two, "nothing");
            first.tiny = 1;
            second.tiny = 2;
            one.beginTransaction();
            one.flush();
            one.getTransaction().commit();
            two.beginTransaction();
            two.flush();
            two.getTransaction().commit();
            return true;
        }
    }

    private static Author named(String name) {
        Author author = new Author();
        author.name = name;
        return author;
    }

    private static Author smallest() {
        Author author = named("smallest");
        author.big = Long.MIN_VALUE;
        author.small = Short.MIN_VALUE;
        author.tiny = Byte.MIN_VALUE;
        author.flag = false;
        author.price = new BigDecimal("-999999999999999999999999999999.9999999999");
        author.ratio = -Double.MAX_VALUE;
        author.day = LocalDate.of(1000, 1, 1);
        author.moment = LocalDateTime.of(1000, 1, 1, 0, 0, 0, 1000);
        author.identifier = new UUID(0, 0);
        author.text = "";
        author.data = new byte[0];
        author.colour = Colour.RED;
        return author;
    }

    private static Author largest() {
        Author author = named("largest 😀");
        author.big = Long.MAX_VALUE;
        author.small = Short.MAX_VALUE;
        author.tiny = Byte.MAX_VALUE;
        author.flag = true;
        author.price = new BigDecimal("999999999999999999999999999999.9999999999");
        author.ratio = Double.MAX_VALUE;
        author.day = LocalDate.of(9999, 12, 31);
        author.moment = LocalDateTime.of(9999, 12, 31, 23, 59, 59, 999_999_000);
        author.identifier = new UUID(-1, -1);
        author.text = "😀".repeat(70_000);
        author.data = blob(300_000);
        author.colour = Colour.BLUE;
        return author;
    }
}
