// Package report prints what every program prints: a line of JSON for each step (see tests/conformance/main.rs).
package report

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// What the environment says.
var (
	Host     = os.Getenv("DRIVER_HOST")
	Port     = os.Getenv("DRIVER_PORT")
	User     = os.Getenv("DRIVER_USER")
	Password = os.Getenv("DRIVER_PASSWORD")
	Schema   = os.Getenv("DRIVER_SCHEMA")
	IsTiDB   = os.Getenv("DRIVER_SERVER") == "tidb"
	TLSCA    = os.Getenv("DRIVER_TLS_CA")
	Compress = os.Getenv("DRIVER_COMPRESS") != ""
	Full     = os.Getenv("TXGUARD_TEST_FULL") != ""
)

// ErrLost stands for a connection that was lost, as it should be; how a driver says so depends on the moment.
var ErrLost = errors.New("lost")

// Big is more than one frame of the protocol holds.
const Big = 17 << 20

// Small are the sizes at and around which a length is encoded otherwise.
var Small = []int{0, 1, 250, 251, 252, 65535, 65536}

// Longer values are shown by their digest.
const shown = 300

// Step runs the action and prints what it gives, or how it fails.
func Step(name string, action func() (any, error)) {
	defer func() {
		if problem := recover(); problem != nil {
			say(map[string]any{"step": name, "error": map[string]any{"panic": fmt.Sprint(problem)}})
		}
	}()
	value, err := action()
	if err != nil {
		say(map[string]any{"step": name, "error": describeError(err)})
		return
	}
	say(map[string]any{"step": name, "result": Describe(value)})
}

func say(line map[string]any) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		panic(err)
	}
}

// Describe shows a value with its type, so that 1, 1.0 and "1" differ.
func Describe(value any) any {
	switch value := value.(type) {
	case nil, bool:
		return value
	case []any:
		items := make([]any, len(value))
		for at, item := range value {
			items[at] = Describe(item)
		}
		if len(items) > 300 {
			text, _ := json.Marshal(items)
			return fmt.Sprintf("%d items %s", len(items), Digest(text))
		}
		return items
	case map[string]any:
		described := map[string]any{}
		for key, item := range value {
			described[key] = Describe(item)
		}
		return described
	case []string:
		items := make([]any, len(value))
		for at, item := range value {
			items[at] = item
		}
		return Describe(items)
	case []byte:
		return "[]byte " + short(hex.EncodeToString(value))
	case string:
		return "string " + short(value)
	case time.Time:
		return "time " + value.Format(time.RFC3339Nano) + " " + value.Location().String()
	default:
		return fmt.Sprintf("%T %v", value, value)
	}
}

func describeError(err error) any {
	var server *mysql.MySQLError
	switch {
	case errors.Is(err, ErrLost):
		return "lost"
	case errors.As(err, &server):
		return map[string]any{
			"code": server.Number, "sqlstate": string(server.SQLState[:]), "text": mask(server.Message),
			"whole": mask(err.Error()),
		}
	default:
		return fmt.Sprintf("%T %s", err, mask(err.Error()))
	}
}

// mask takes the address out, which is another one through txguard.
func mask(text string) string {
	return short(strings.ReplaceAll(text, Port, "PORT"))
}

func short(text string) string {
	if len(text) <= shown {
		return text
	}
	return fmt.Sprintf("%s… %d %s", strings.ToValidUTF8(text[:20], ""), len(text), Digest([]byte(text)))
}

// Digest is the beginning of the SHA-256.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// Blob holds bytes of every value, the same each time.
func Blob(size int) []byte {
	data := make([]byte, size)
	for at := range data {
		data[at] = byte(at*7 + at>>8)
	}
	return data
}

// Rows reads all result sets.
func Rows(rows *sql.Rows) (any, error) {
	defer rows.Close()
	sets := []any{}
	for {
		set, err := resultSet(rows)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
		if !rows.NextResultSet() {
			return sets, rows.Err()
		}
	}
}

func resultSet(rows *sql.Rows) (any, error) {
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	columns := []any{}
	for _, column := range types {
		length, hasLength := column.Length()
		precision, scale, isDecimal := column.DecimalSize()
		nullable, known := column.Nullable()
		scan := ""
		if column.ScanType() != nil {
			scan = column.ScanType().String()
		}
		columns = append(columns, fmt.Sprint(column.Name(), " ", column.DatabaseTypeName(), " ", scan, " ", length,
			hasLength, precision, scale, isDecimal, nullable, known))
	}
	all := []any{}
	for rows.Next() {
		row := make([]any, len(types))
		places := make([]any, len(types))
		for at := range row {
			places[at] = &row[at]
		}
		if err := rows.Scan(places...); err != nil {
			return nil, err
		}
		all = append(all, any(row))
	}
	return map[string]any{"columns": columns, "rows": all}, rows.Err()
}

// Config is the connection that all programs use; it can be changed before use.
func Config() *mysql.Config {
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", Host+":"+Port
	config.User, config.Passwd, config.DBName = User, Password, Schema
	config.MaxAllowedPacket = 64 << 20
	if TLSCA != "" {
		config.TLSConfig = "tests"
	}
	if Compress {
		if err := config.Apply(mysql.EnableCompression(true)); err != nil {
			panic(err)
		}
	}
	return config
}
