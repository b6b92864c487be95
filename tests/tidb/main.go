// Command tidb serves a real TiDB v7.5 on loopback for txguard's tests.
//
// It is the SQL layer of the release with the store that TiDB embeds for its own tests (unistore): one process, no PD
// and no TiKV, the same optimistic and pessimistic transactions, the same error codes. The module version in go.mod is
// the commit of v7.5.0; tags of that repository can't be required as a Go module.
//
// About go.mod: Go ignores the replace directives of a dependency, so the two that TiDB needs are repeated there: it is
// built with forks of jwt-go and ldap. Its parser is a module of its own in the same repository, which TiDB takes from
// its own tree, so go.mod requires it at the same commit.
//
// Build it with -ldflags=-checklinkname=0: one dependency of v7.5 reaches into the Go runtime through a linkname that
// the linker refuses since Go 1.23.
//
// When the server accepts connections, it prints one line of JSON on standard output and nothing else, ever:
//
//	{"port":40001,"status_port":40002}
//
// SIGTERM, SIGINT and, with --watch-stdin, the end of standard input shut it down. Its log is tidb.log in --dir.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pingcap/log"
	"github.com/pingcap/tidb/pkg/config"
	"github.com/pingcap/tidb/pkg/domain"
	"github.com/pingcap/tidb/pkg/kv"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	"github.com/pingcap/tidb/pkg/parser/terror"
	_ "github.com/pingcap/tidb/pkg/planner/core" // registers the optimizer, without which no statement is planned
	"github.com/pingcap/tidb/pkg/server"
	"github.com/pingcap/tidb/pkg/session"
	"github.com/pingcap/tidb/pkg/sessionctx/variable"
	kvstore "github.com/pingcap/tidb/pkg/store"
	"github.com/pingcap/tidb/pkg/store/mockstore"
	"github.com/pingcap/tidb/pkg/util/disk"
	"github.com/pingcap/tidb/pkg/util/logutil"
	"github.com/pingcap/tidb/pkg/util/metricsutil"
	"github.com/pingcap/tidb/pkg/util/timeutil"
)

const (
	host    = "127.0.0.1"
	release = "v7.5.0"

	// How long open transactions may go on after a shutdown was asked for, and how long their connections may then
	// take to close.
	drainWait  = 500 * time.Millisecond
	cancelWait = 500 * time.Millisecond
	// A shutdown that hangs is cut off after this time: tests wait for this process.
	shutdownLimit = 10 * time.Second
)

func main() {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tidb harness:", err)
		os.Exit(1)
	}
}

type options struct {
	port, statusPort uint
	dir              string
	persist          bool
	readyFile        string
	watchStdin       bool
	tlsCertificate   string
	tlsKey           string
	globals          []global
}

// global is one SET GLOBAL from the command line.
type global struct{ name, value string }

func parseOptions(args []string, usage io.Writer) (*options, error) {
	opts := &options{}
	flags := flag.NewFlagSet("tidb", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.UintVar(&opts.port, "port", 0, "port of the MySQL protocol, 0: a free one")
	flags.UintVar(&opts.statusPort, "status-port", 0, "port of HTTP status and metrics, 0: a free one")
	flags.StringVar(&opts.dir, "dir", "", "folder for log and temporary files, kept at exit (default: a temporary one, removed)")
	flags.BoolVar(&opts.persist, "persist", false, "keep the data in --dir, so that a later start finds it again")
	flags.StringVar(&opts.readyFile, "ready-file", "", "also write the line of JSON to this file")
	flags.BoolVar(&opts.watchStdin, "watch-stdin", false, "shut down when standard input ends")
	flags.StringVar(&opts.tlsCertificate, "tls-certificate", "", "offer TLS with this certificate, a PEM file; needs --tls-key")
	flags.StringVar(&opts.tlsKey, "tls-key", "", "its private key, a PEM file")
	flags.Func("global", "`NAME=VALUE` to SET GLOBAL at start, repeatable", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return errors.New("NAME=VALUE expected")
		}
		opts.globals = append(opts.globals, global{name, value})
		return nil
	})
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(usage)
			flags.Usage()
		}
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	if opts.persist && opts.dir == "" {
		return nil, errors.New("--persist needs --dir")
	}
	return opts, nil
}

// run serves until a signal, or the end of standard input, asks for the end.
func run(opts *options) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if opts.watchStdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
	}

	dir, err := workDir(opts)
	if err != nil {
		return err
	}
	if opts.dir == "" {
		defer os.RemoveAll(dir)
	}
	if err := configure(opts, dir); err != nil {
		return err
	}
	tidb, err := start(opts)
	if err != nil {
		return err
	}
	defer tidb.shutDown()

	served := make(chan error, 1)
	go func() { served <- tidb.server.Run() }()
	if err := announce(opts.readyFile); err != nil {
		return err
	}
	select {
	case <-stop.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("the server ended by itself: %w", err)
	}
}

func workDir(opts *options) (string, error) {
	if opts.dir == "" {
		return os.MkdirTemp("", "txguard-tidb-")
	}
	// TiDB wants an absolute path for its store.
	dir, err := filepath.Abs(opts.dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o750)
}

// configure sets what TiDB reads from its global configuration, and what its own main function derives from it.
func configure(opts *options, dir string) error {
	// Lets the server take port 0 as "a free one"; it means nothing else there.
	server.RunInGoTest = true

	config.UpdateGlobal(func(conf *config.Config) {
		conf.Host = host
		conf.AdvertiseAddress = host
		conf.Port = opts.port
		conf.Socket = ""
		conf.Status.StatusHost = host
		conf.Status.StatusPort = opts.statusPort
		conf.Path = ""
		if opts.persist {
			conf.Path = filepath.Join(dir, "store")
		}
		conf.TempDir = filepath.Join(dir, "temp")
		conf.TempStoragePath = filepath.Join(dir, "spill")
		conf.Security.SSLCert = opts.tlsCertificate
		conf.Security.SSLKey = opts.tlsKey
		conf.Log.Level = "warn"
		conf.Log.File.Filename = filepath.Join(dir, "tidb.log")
		conf.Log.SlowQueryFile = filepath.Join(dir, "slow.log")
	})
	conf := config.GetGlobalConfig()

	// The store makes its folder, which goes at exit, where the environment says.
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	// pkg/log tells on standard output when it can't open its file, and goes on.
	if err := os.WriteFile(conf.Log.File.Filename, nil, 0o640); err != nil {
		return err
	}
	if err := logutil.InitLogger(conf.Log.ToLogConfig()); err != nil {
		return fmt.Errorf("log: %w", err)
	}
	if err := disk.InitializeTempDir(); err != nil {
		return fmt.Errorf("%s: %w", conf.TempStoragePath, err)
	}
	if err := metricsutil.RegisterMetrics(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}

	// The release number is set at link time in a release build.
	mysql.TiDBReleaseVersion = release
	mysql.ServerVersion = "8.0.11-TiDB-" + release
	variable.SetSysVar(variable.Version, mysql.ServerVersion)
	// NewServer takes @@system_time_zone from here; the bootstrap, which sets it otherwise, comes later.
	timeutil.SetSystemTZ(timeutil.InferSystemTZ())
	// A transaction has no size limit of its own, as in a release build.
	kv.TxnTotalSizeLimit.Store(config.SuperLargeTxnSize)
	return nil
}

// tidb is a running TiDB: its parts in the order of their start.
type tidb struct {
	store  kv.Storage
	server *server.Server
	domain *domain.Domain
}

func start(opts *options) (*tidb, error) {
	if err := kvstore.Register("unistore", mockstore.EmbedUnistoreDriver{}); err != nil {
		return nil, err
	}
	conf := config.GetGlobalConfig()
	store, err := kvstore.New("unistore://" + conf.Path)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	// It listens from here on, but accepts only in Run. It comes before the bootstrap because TiDB then registers
	// itself under the ports found in conf (information_schema.cluster_*).
	srv, err := server.NewServer(conf, server.NewTiDBDriver(store))
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	variable.SetSysVar(variable.Port, fmt.Sprint(conf.Port))

	dom, err := session.BootstrapSession(store)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	srv.SetDomain(dom)
	dom.InfoSyncer().SetSessionManager(srv)
	go dom.ExpensiveQueryHandle().SetSessionManager(srv).Run()
	terror.RegisterFinish()

	if err := prepare(store, opts.globals); err != nil {
		return nil, err
	}
	return &tidb{store, srv, dom}, nil
}

// prepare runs the statements that tests rely on.
func prepare(store kv.Storage, globals []global) error {
	se, err := session.CreateSession(store)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	defer se.Close()
	ctx := kv.WithInternalSourceType(context.Background(), kv.InternalTxnOthers)

	// SET @@tidb_snapshot compares with this row. TiDB's garbage collector would write it, but the embedded store has
	// none: every version is kept.
	const safePoint = "INSERT IGNORE INTO mysql.tidb VALUES ('tikv_gc_safe_point', '20200101-00:00:00 +0000', '')"
	if _, err := se.ExecuteInternal(ctx, safePoint); err != nil {
		return fmt.Errorf("safe point: %w", err)
	}
	for _, g := range globals {
		if _, err := se.ExecuteInternal(ctx, "SET GLOBAL %n = %?", g.name, g.value); err != nil {
			return fmt.Errorf("--global %s=%s: %w", g.name, g.value, err)
		}
	}
	return nil
}

// announce says that connections are accepted.
func announce(readyFile string) error {
	conf := config.GetGlobalConfig()
	line, err := json.Marshal(map[string]uint{"port": conf.Port, "status_port": conf.Status.StatusPort})
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if readyFile != "" {
		// Renamed into place, so that a reader never sees half a line.
		partial := readyFile + ".partial"
		if err := os.WriteFile(partial, line, 0o640); err != nil {
			return err
		}
		if err := os.Rename(partial, readyFile); err != nil {
			return err
		}
	}
	_, err = os.Stdout.Write(line)
	return err
}

func (t *tidb) shutDown() {
	time.AfterFunc(shutdownLimit, func() {
		fmt.Fprintln(os.Stderr, "tidb harness: shutdown took too long")
		os.Exit(1)
	})
	t.server.Close()
	t.domain.StopAutoAnalyze()
	t.server.DrainClients(drainWait, cancelWait)
	t.domain.Close()
	terror.Log(t.store.Close())
	disk.CleanUp()
	terror.Log(log.Sync())
}
