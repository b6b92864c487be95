// Command bank is the bank workload by go-sql-driver/mysql in its default mode: every statement
// with arguments is prepared, executed and closed. It prints one line of JSON.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

const accounts = 10

type report struct {
	Commits   int            `json:"commits"`
	Conflicts map[uint16]int `json:"conflicts"`
	Others    []string       `json:"others"`
	Sum       int            `json:"sum"`
	Expected  int            `json:"sum_expected"`
	Counter   int            `json:"counter"`
}

func main() {
	address := flag.String("address", "127.0.0.1:4407", "HOST:PORT")
	schema := flag.String("schema", "bank", "schema to use; it must exist")
	seconds := flag.Int("seconds", 10, "how long")
	writers := flag.Int("writers", 8, "how many connections")
	begin := flag.String("begin", "BEGIN OPTIMISTIC", "how a transaction begins")
	flag.Parse()
	result, err := run(*address, *schema, *begin, *writers, time.Duration(*seconds)*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bank:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		os.Exit(1)
	}
}

func run(address, schema, begin string, writers int, length time.Duration) (*report, error) {
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(%s)/%s", address, schema))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if err := prepare(db, writers); err != nil {
		return nil, err
	}
	result := &report{Conflicts: map[uint16]int{}, Expected: accounts * 1000}
	var mutex sync.Mutex
	var all sync.WaitGroup
	end := time.Now().Add(length)
	for writer := 0; writer < writers; writer++ {
		all.Add(1)
		go func() {
			defer all.Done()
			err := write(db, begin, writer, end, result, &mutex)
			if err != nil {
				mutex.Lock()
				result.Others = append(result.Others, err.Error())
				mutex.Unlock()
			}
		}()
	}
	all.Wait()
	if err := db.QueryRow("SELECT SUM(balance) FROM account").Scan(&result.Sum); err != nil {
		return nil, err
	}
	err = db.QueryRow("SELECT SUM(n) FROM counter").Scan(&result.Counter)
	return result, err
}

func prepare(db *sql.DB, writers int) error {
	statements := []string{
		"CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
		"CREATE TABLE counter (id INT PRIMARY KEY, n BIGINT NOT NULL)",
	}
	for _, statement := range statements {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	for id := 0; id < accounts; id++ {
		if _, err := db.Exec("INSERT INTO account VALUES (?, 1000)", id); err != nil {
			return err
		}
	}
	for id := 0; id < writers; id++ {
		if _, err := db.Exec("INSERT INTO counter VALUES (?, 0)", id); err != nil {
			return err
		}
	}
	return nil
}

func write(db *sql.DB, begin string, writer int, end time.Time, result *report, mutex *sync.Mutex) error {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	random := rand.New(rand.NewSource(int64(writer)))
	for time.Now().Before(end) {
		err := transfer(ctx, conn, begin, writer, random)
		var server *mysql.MySQLError
		mutex.Lock()
		switch {
		case err == nil:
			result.Commits++
		case errors.As(err, &server):
			result.Conflicts[server.Number]++
		default:
			mutex.Unlock()
			return err
		}
		mutex.Unlock()
		if err != nil {
			if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
				return err
			}
		}
	}
	return nil
}

func transfer(ctx context.Context, conn *sql.Conn, begin string, writer int, random *rand.Rand) error {
	from := random.Intn(accounts)
	to := (from + 1 + random.Intn(accounts-1)) % accounts
	amount := 1 + random.Intn(10)
	steps := []struct {
		text string
		args []any
	}{
		{begin, nil},
		{"UPDATE account SET balance = balance - ? WHERE id = ?", []any{amount, from}},
		{"UPDATE account SET balance = balance + ? WHERE id = ?", []any{amount, to}},
		{"UPDATE counter SET n = n + 1 WHERE id = ?", []any{writer}},
		{"COMMIT", nil},
	}
	for _, step := range steps {
		if _, err := conn.ExecContext(ctx, step.text, step.args...); err != nil {
			return err
		}
	}
	return nil
}
