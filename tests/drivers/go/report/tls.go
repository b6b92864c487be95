package report

import (
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/go-sql-driver/mysql"
)

func init() {
	if TLSCA == "" {
		return
	}
	certificate, err := os.ReadFile(TLSCA)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		panic("no certificate in " + TLSCA)
	}
	if err := mysql.RegisterTLSConfig("tests", &tls.Config{RootCAs: roots, ServerName: "localhost"}); err != nil {
		panic(err)
	}
}
