// Command drive_go_sql_driver goes through database/sql with go-sql-driver/mysql: text by interpolation, prepared.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	. "txguard/tests/drivers/report"
)

var ctx = context.Background()

func main() {
	logins()
	for _, kind := range []string{"text", "prepared", "times"} {
		config := Config()
		config.InterpolateParams = kind == "text"
		config.ParseTime = kind == "times"
		config.ClientFoundRows = kind == "times"
		db := open(config)
		s := &suite{kind: kind, db: db, conn: take(db)}
		s.run()
		db.Close()
	}
	pools()
	transactions()
	multi()
	localInfile()
	reconnect()
}

func open(config *mysql.Config) *sql.DB {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		panic(err)
	}
	return sql.OpenDB(connector)
}

func take(db *sql.DB) *sql.Conn {
	conn, err := db.Conn(ctx)
	if err != nil {
		panic(err)
	}
	return conn
}

// asker is a connection, a pool or a transaction.
type asker interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}

func query(on asker, text string, args ...any) (any, error) {
	rows, err := on.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	return Rows(rows)
}

func exec(on asker, text string, args ...any) (any, error) {
	result, err := on.ExecContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	return []any{affected, id}, nil
}

// must is for what is no step.
func must(on asker, text string, args ...any) {
	if _, err := on.ExecContext(ctx, text, args...); err != nil {
		panic(fmt.Sprint(text, ": ", err))
	}
}

func pairs(on asker, text string) [][2]string {
	rows, err := on.QueryContext(ctx, text)
	if err != nil {
		panic(err)
	}
	defer rows.Close()
	var all [][2]string
	for rows.Next() {
		var pair [2]string
		if err := rows.Scan(&pair[0], &pair[1]); err != nil {
			panic(err)
		}
		all = append(all, pair)
	}
	return all
}

func logins() {
	for _, login := range []struct {
		name   string
		change func(*mysql.Config)
	}{
		{"login", func(*mysql.Config) {}},
		{"wrong password", func(c *mysql.Config) { c.Passwd = "wrong" }},
		{"no password", func(c *mysql.Config) { c.Passwd = "" }},
		{"unknown user", func(c *mysql.Config) { c.User = "nobody" }},
		{"unknown schema", func(c *mysql.Config) { c.DBName = "nowhere" }},
		{"no schema", func(c *mysql.Config) { c.DBName = "" }},
		{"collation", func(c *mysql.Config) { c.Collation = "utf8mb4_unicode_ci" }},
		{"parameters", func(c *mysql.Config) { c.Params = map[string]string{"sql_mode": "'ANSI'", "time_zone": "'+05:00'"} }},
		{"bad parameter", func(c *mysql.Config) { c.Params = map[string]string{"nonsense": "1"} }},
		{"attributes", func(c *mysql.Config) { c.ConnectionAttributes = "program_name:tests,ünï:😀" }},
	} {
		Step(login.name, func() (any, error) {
			config := Config()
			login.change(config)
			db := open(config)
			defer db.Close()
			return query(db, "SELECT VERSION(), DATABASE(), CURRENT_USER(), @@autocommit, @@sql_mode, @@time_zone,"+
				" @@collation_connection")
		})
	}
}

type suite struct {
	kind string
	db   *sql.DB
	conn *sql.Conn
}

func (s *suite) step(name string, action func() (any, error)) {
	Step(s.kind+": "+name, action)
}

func (s *suite) run() {
	must(s.conn, "DELETE FROM item")
	must(s.conn, "ALTER TABLE item AUTO_INCREMENT = 1")
	for _, asked := range pairs(s.conn, "SELECT name, statement FROM asked ORDER BY id") {
		s.step("asked "+asked[0], func() (any, error) { return s.ask(asked[1]) })
	}
	must(s.conn, "DELETE FROM item")
	for _, asked := range pairs(s.conn, "SELECT name, statement FROM asked ORDER BY id") {
		s.step("executed "+asked[0], func() (any, error) { return exec(s.conn, asked[1]) })
	}
	must(s.conn, "DELETE FROM item")
	columns := pairs(s.conn,
		"SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = DATABASE()"+
			" AND table_name = 'extremes' AND column_name <> 'id' ORDER BY ordinal_position")
	for _, column := range columns {
		s.step("read "+column[0], func() (any, error) {
			return s.ask("SELECT id, " + column[0] + " FROM extremes ORDER BY id")
		})
		s.step("write "+column[0], func() (any, error) { return s.write(column[0]) })
	}
	for _, refused := range pairs(s.conn, "SELECT name, statement FROM refused ORDER BY id") {
		s.step("refused "+refused[0], func() (any, error) { return s.ask(refused[1]) })
	}
	s.big()
	s.prepared()
}

// ask goes by text, or prepares, asks and closes.
func (s *suite) ask(text string, args ...any) (any, error) {
	if s.kind == "text" {
		return query(s.conn, text, args...)
	}
	statement, err := s.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return Rows(rows)
}

// write sends each value back as a parameter, in the encoding that the driver has for it.
func (s *suite) write(column string) (any, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT id, "+column+" FROM extremes WHERE id > ? ORDER BY id", 0)
	if err != nil {
		return nil, err
	}
	var values [][2]any
	for rows.Next() {
		var value [2]any
		if err := rows.Scan(&value[0], &value[1]); err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	said := []any{}
	for _, value := range values {
		result, err := exec(tx, "INSERT INTO copy (id, "+column+") VALUES (?, ?)", value[0], value[1])
		if err != nil {
			result = err.Error()
		}
		said = append(said, result)
	}
	equal, err := query(tx, "SELECT c.id, c."+column+" <=> e."+column+" FROM copy c JOIN extremes e USING (id) ORDER BY id")
	return append(said, equal), err
}

func (s *suite) big() {
	sizes := Small
	if Full || (!IsTiDB || s.kind == "prepared") {
		sizes = append(append([]int{}, Small...), Big)
	}
	for _, size := range sizes {
		s.step(fmt.Sprint("send ", size, " bytes"), func() (any, error) {
			return query(s.conn, "SELECT LENGTH(?), ?", Blob(size), size)
		})
	}
	for _, size := range append(append([]int{}, Small...), Big) {
		s.step(fmt.Sprint("receive ", size, " bytes"), func() (any, error) {
			return query(s.conn, "SELECT REPEAT('x', ?), ?", size, size)
		})
	}
	for _, size := range []int{0, 65536, 1 << 20} {
		s.step(fmt.Sprint("store ", size, " bytes"), func() (any, error) {
			must(s.conn, "REPLACE INTO big VALUES (1, ?)", Blob(size))
			var back []byte
			err := s.conn.QueryRowContext(ctx, "SELECT v FROM big WHERE id = ?", 1).Scan(&back)
			return []any{len(back), bytes.Equal(back, Blob(size))}, err
		})
	}
}

// executed gives what one statement says to each value.
func (s *suite) executed(values []any) ([]any, error) {
	statement, err := s.conn.PrepareContext(ctx, "SELECT ?")
	if err != nil {
		return nil, err
	}
	defer statement.Close()
	said := []any{}
	for _, value := range values {
		rows, err := statement.QueryContext(ctx, value)
		if err != nil {
			said = append(said, err.Error())
			continue
		}
		result, err := Rows(rows)
		if err != nil {
			return nil, err
		}
		said = append(said, result)
	}
	return said, nil
}

// prepared executes one statement again and again, with another type each time.
func (s *suite) prepared() {
	s.step("executed again", func() (any, error) {
		values := []any{1, "two", 3.5, nil, []byte{0, 255}, true, uint64(1<<64 - 1), time.Unix(0, 0).UTC()}
		groups := [][]any{values}
		if IsTiDB {
			// TiDB takes the first type for all, until somebody's DDL makes it plan anew.
			groups = nil
			for _, value := range values {
				groups = append(groups, []any{value, value})
			}
		}
		said := []any{}
		for _, group := range groups {
			results, err := s.executed(group)
			if err != nil {
				return nil, err
			}
			said = append(said, results...)
		}
		return said, nil
	})
	s.step("hundred statements at once", func() (any, error) {
		said := []any{}
		var open []*sql.Stmt
		for n := range 100 {
			statement, err := s.conn.PrepareContext(ctx, fmt.Sprintf("SELECT ? + %d", n))
			if err != nil {
				return nil, err
			}
			open = append(open, statement)
		}
		for _, statement := range open {
			var sum int
			if err := statement.QueryRowContext(ctx, 1).Scan(&sum); err != nil {
				return nil, err
			}
			said = append(said, sum)
			statement.Close()
		}
		return said, nil
	})
	s.step("wrong count of parameters", func() (any, error) { return query(s.conn, "SELECT ?, ?", 1) })
	s.step("half-read", func() (any, error) {
		rows, err := s.conn.QueryContext(ctx, "SELECT n FROM many WHERE n >= ? ORDER BY n", 0)
		if err != nil {
			return nil, err
		}
		rows.Next()
		rows.Close()
		return query(s.conn, "SELECT 1")
	})
	s.step("cancelled", func() (any, error) {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err = conn.ExecContext(short, "SELECT SLEEP(5)")
		conn.Close()
		after, problem := query(s.db, "SELECT 1")
		return []any{errors.Is(err, context.DeadlineExceeded), after}, problem
	})
}

func pools() {
	db := open(Config())
	defer db.Close()
	db.SetMaxOpenConns(4)
	Step("pool: forty at once", func() (any, error) {
		var group sync.WaitGroup
		problems := make([]error, 40)
		for n := range problems {
			group.Add(1)
			go func() {
				defer group.Done()
				problems[n] = add(db, n)
			}()
		}
		group.Wait()
		return nil, errors.Join(problems...)
	})
	Step("pool: there", func() (any, error) { return query(db, "SELECT COUNT(*), SUM(n), MIN(name) FROM item") })
	Step("pool: open", func() (any, error) { return db.Stats().OpenConnections, nil })
	Step("pool: delete", func() (any, error) { return exec(db, "DELETE FROM item") })
}

func add(db *sql.DB, n int) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO item (name, n) VALUES (?, ?)", fmt.Sprint("pooled 😀 ", n), n); err != nil {
		return err
	}
	return tx.Commit()
}

func transactions() {
	db := open(Config())
	defer db.Close()
	items := func(on asker) (any, error) { return query(on, "SELECT name, n FROM item ORDER BY name") }
	for _, options := range []*sql.TxOptions{
		nil, {ReadOnly: true}, {Isolation: sql.LevelReadCommitted}, {Isolation: sql.LevelRepeatableRead},
		{Isolation: sql.LevelSerializable}, {Isolation: sql.LevelSnapshot},
	} {
		name := "default"
		if options != nil {
			name = fmt.Sprint(options.Isolation, " ", options.ReadOnly)
		}
		for _, end := range []string{"commit", "rollback"} {
			var tx *sql.Tx
			Step(fmt.Sprint("transaction ", name, " ", end, ": begin"), func() (any, error) {
				var err error
				tx, err = db.BeginTx(ctx, options)
				return nil, err
			})
			if tx == nil {
				continue
			}
			for number, statement := range []string{
				"INSERT INTO item (name) VALUES ('a')", "SAVEPOINT one", "INSERT INTO item (name) VALUES ('b')",
				"INSERT INTO item (name) VALUES ('b')", "ROLLBACK TO one", "RELEASE SAVEPOINT one",
				"INSERT INTO item (name) VALUES ('c')",
			} {
				Step(fmt.Sprint("transaction ", name, " ", end, ": ", number, " ", statement),
					func() (any, error) { return exec(tx, statement) })
			}
			Step(fmt.Sprint("transaction ", name, " ", end, ": inside"), func() (any, error) { return items(tx) })
			Step(fmt.Sprint("transaction ", name, " ", end, ": end"), func() (any, error) {
				if end == "commit" {
					return nil, tx.Commit()
				}
				return nil, tx.Rollback()
			})
			Step(fmt.Sprint("transaction ", name, " ", end, ": after"), func() (any, error) { return items(db) })
			must(db, "DELETE FROM item")
		}
	}
}

func multi() {
	config := Config()
	config.MultiStatements = true
	db := open(config)
	defer db.Close()
	Step("multi: selects", func() (any, error) { return query(db, "SELECT 1; SELECT n, name FROM many WHERE n < 3; SELECT 3") })
	Step("multi: execs", func() (any, error) {
		return exec(db, "INSERT INTO item (name) VALUES ('a'); UPDATE item SET n = 1; DELETE FROM item")
	})
	Step("multi: error first", func() (any, error) { return query(db, "SELEC 1; SELECT 2") })
	Step("multi: error in the middle", func() (any, error) { return query(db, "SELECT 1; SELEC 2; SELECT 3") })
	Step("multi: after it", func() (any, error) { return query(db, "SELECT 4") })
	if !IsTiDB {
		Step("call", func() (any, error) { return query(db, "CALL results(3, @doubled)") })
		Step("call prepared", func() (any, error) { return query(db, "CALL results(?, @doubled)", 3) })
		Step("call, error", func() (any, error) { return query(db, "CALL refuse()") })
	}
}

func localInfile() {
	db := open(Config())
	defer db.Close()
	load := func(reader func() io.Reader) (any, error) {
		mysql.RegisterReaderHandler("rows", reader)
		defer mysql.DeregisterReaderHandler("rows")
		return exec(db, "LOAD DATA LOCAL INFILE 'Reader::rows' INTO TABLE item CHARACTER SET utf8mb4 (id, name, n)")
	}
	Step("local infile", func() (any, error) {
		return load(func() io.Reader {
			var text bytes.Buffer
			for n := 1; n <= 5000; n++ {
				fmt.Fprintf(&text, "%d\tname 😀 %d\t%d\n", n, n, n)
			}
			return &text
		})
	})
	Step("local infile, there", func() (any, error) { return query(db, "SELECT COUNT(*), SUM(n), MIN(name) FROM item") })
	Step("local infile, empty", func() (any, error) { return load(func() io.Reader { return &bytes.Buffer{} }) })
	Step("local infile, a reader that fails", func() (any, error) {
		return load(func() io.Reader { return io.MultiReader(bytes.NewBufferString("9001\tx\t1\n"), failing{}) })
	})
	Step("local infile, refused by the client", func() (any, error) {
		return exec(db, "LOAD DATA LOCAL INFILE '/not/allowed' INTO TABLE item")
	})
	Step("local infile, after that", func() (any, error) { return query(db, "SELECT COUNT(*) FROM item") })
	must(db, "DELETE FROM item")
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("on purpose") }

func reconnect() {
	db := open(Config())
	defer db.Close()
	db.SetMaxOpenConns(2)
	Step("killed", func() (any, error) {
		victim, other := take(db), take(db)
		defer victim.Close()
		defer other.Close()
		var id int
		if err := victim.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id); err != nil {
			return nil, err
		}
		must(other, fmt.Sprint("KILL ", id))
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if _, err := victim.ExecContext(ctx, "DO 1"); err != nil {
				return nil, ErrLost
			}
		}
		return "still there", nil
	})
	for n := range 5 {
		Step(fmt.Sprint("after a kill ", n), func() (any, error) { return query(db, "SELECT 1") })
	}
	Step("ping", func() (any, error) { return nil, db.PingContext(ctx) })
}
