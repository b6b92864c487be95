// Command drive_gorm goes through GORM: schema, types, associations, transactions, savepoints, locks.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	driver "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"

	. "txguard/tests/drivers/report"
)

type author struct {
	ID       uint64
	Name     string `gorm:"size:100;uniqueIndex;not null"`
	Big      *int64
	Positive *uint64
	Tiny     *int8
	Flag     *bool
	Price    *string `gorm:"type:decimal(40,10)"`
	Ratio    *float64
	Day      *time.Time `gorm:"type:date"`
	Moment   *time.Time `gorm:"precision:6"`
	Text     *string    `gorm:"type:longtext"`
	Data     []byte     `gorm:"type:longblob"`
	Extra    *string    `gorm:"type:json"`
	Books    []book     `gorm:"constraint:OnDelete:CASCADE"`
	Tags     []tag      `gorm:"many2many:gorm_author_tag"`
}

type book struct {
	ID       uint64
	Title    string `gorm:"size:100;index"`
	AuthorID uint64
	Deleted  gorm.DeletedAt
}

type tag struct {
	Name string `gorm:"primaryKey;size:50"`
}

func (author) TableName() string { return "gorm_author" }
func (book) TableName() string   { return "gorm_book" }
func (tag) TableName() string    { return "gorm_tag" }

func main() {
	for _, prepare := range []bool{false, true} {
		config := Config()
		config.ParseTime = true
		db, err := gorm.Open(driver.New(driver.Config{DSNConfig: config}), &gorm.Config{
			PrepareStmt: prepare,
			Logger:      logger.Discard,
		})
		if err != nil {
			panic(err)
		}
		s := &suite{prefix: fmt.Sprintf("prepared %t: ", prepare), db: db}
		s.run()
	}
}

type suite struct {
	prefix string
	db     *gorm.DB
}

func (s *suite) step(name string, action func() (any, error)) { Step(s.prefix+name, action) }

func (s *suite) run() {
	s.step("migrate", func() (any, error) { return nil, s.db.AutoMigrate(&author{}, &book{}, &tag{}) })
	s.step("migrate again", func() (any, error) { return nil, s.db.AutoMigrate(&author{}, &book{}, &tag{}) })
	s.reflect()
	s.write()
	s.queries()
	s.transactions()
	s.mistakes()
	s.step("drop", func() (any, error) {
		return nil, s.db.Migrator().DropTable("gorm_author_tag", &book{}, &author{}, &tag{})
	})
	s.step("close", func() (any, error) {
		pool, err := s.db.DB()
		if err != nil {
			return nil, err
		}
		return nil, pool.Close()
	})
}

func (s *suite) reflect() {
	for _, table := range []string{"gorm_author", "extremes"} {
		s.step("columns of "+table, func() (any, error) {
			types, err := s.db.Migrator().ColumnTypes(table)
			var all []string
			for _, column := range types {
				kind, _ := column.ColumnType()
				nullable, _ := column.Nullable()
				length, _ := column.Length()
				all = append(all, fmt.Sprint(column.Name(), " ", kind, " ", nullable, " ", length))
			}
			return all, err
		})
	}
	s.step("tables", func() (any, error) { return s.db.Migrator().GetTables() })
	s.step("indexes", func() (any, error) {
		indexes, err := s.db.Migrator().GetIndexes(&author{})
		var all []string
		for _, index := range indexes {
			all = append(all, index.Name()+" "+strings.Join(index.Columns(), ","))
		}
		return all, err
	})
}

func pointer[T any](value T) *T { return &value }

func (s *suite) write() {
	smallest := author{
		Name: "smallest", Big: pointer[int64](-1 << 63), Positive: pointer[uint64](0), Tiny: pointer[int8](-128),
		Flag: pointer(false), Price: pointer("-999999999999999999999999999999.9999999999"),
		Ratio: pointer(-1.7976931348623157e308), Day: pointer(time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC)),
		Moment: pointer(time.Date(1000, 1, 1, 0, 0, 0, 1000, time.UTC)), Text: pointer(""), Data: []byte{},
		Extra: pointer("{}"),
	}
	largest := author{
		Name: "largest 😀", Big: pointer[int64](1<<63 - 1), Positive: pointer[uint64](1<<64 - 1), Tiny: pointer[int8](127),
		Flag: pointer(true), Price: pointer("999999999999999999999999999999.9999999999"),
		Ratio: pointer(1.7976931348623157e308), Day: pointer(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)),
		Moment: pointer(time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)),
		Text:   pointer(strings.Repeat("😀", 70000)), Data: Blob(300000), Extra: pointer(`{"a": [1, null, "😀"]}`),
		Books: []book{{Title: "one"}, {Title: "two 😀"}, {Title: "three"}}, Tags: []tag{{"red"}, {"blue"}},
	}
	nothing := author{Name: "nothing", Tags: []tag{{"red"}}}
	for _, one := range []*author{&smallest, &largest, &nothing} {
		s.step("create "+one.Name, func() (any, error) {
			done := s.db.Create(one)
			return done.RowsAffected, done.Error
		})
	}
	s.step("many", func() (any, error) {
		books := make([]book, 250)
		for n := range books {
			books[n] = book{Title: fmt.Sprint("many ", n), AuthorID: nothing.ID}
		}
		done := s.db.CreateInBatches(books, 100)
		return done.RowsAffected, done.Error
	})
}

func (s *suite) names(db *gorm.DB) ([]string, error) {
	var names []string
	err := db.Model(&author{}).Order("name").Pluck("name", &names).Error
	return names, err
}

func (s *suite) queries() {
	s.step("find", func() (any, error) {
		var authors []author
		err := s.db.Preload("Books", func(db *gorm.DB) *gorm.DB { return db.Order("title").Limit(5) }).
			Preload("Tags", func(db *gorm.DB) *gorm.DB { return db.Order("name") }).Order("name").Find(&authors).Error
		all := []any{}
		for _, one := range authors {
			row := []any{one.Name, value(one.Big), value(one.Positive), value(one.Tiny), value(one.Flag), value(one.Price),
				value(one.Ratio), value(one.Day), value(one.Moment), value(one.Text), one.Data, value(one.Extra)}
			for _, book := range one.Books {
				row = append(row, book.Title)
			}
			for _, tag := range one.Tags {
				row = append(row, tag.Name)
			}
			all = append(all, row)
		}
		return all, err
	})
	s.step("rows", func() (any, error) {
		rows, err := s.db.Raw("SELECT n, name FROM many WHERE n < ? ORDER BY n", 3).Rows()
		if err != nil {
			return nil, err
		}
		return Rows(rows)
	})
	s.step("group", func() (any, error) {
		var counts []int
		err := s.db.Model(&book{}).Select("COUNT(*)").Group("author_id").Order("1").Find(&counts).Error
		return fmt.Sprint(counts), err
	})
	s.step("where", func() (any, error) {
		return s.names(s.db.Where("tiny < ? OR name IN ?", 0, []string{"nothing", "x"}).Not("name = ?", "y"))
	})
	s.step("update", func() (any, error) {
		done := s.db.Model(&author{}).Where("name = ?", "nothing").Updates(map[string]any{"tiny": gorm.Expr("COALESCE(tiny, 0) + 3")})
		return done.RowsAffected, done.Error
	})
	s.step("upsert", func() (any, error) {
		done := s.db.Clauses(clause.OnConflict{DoUpdates: clause.AssignmentColumns([]string{"tiny"})}).
			Create(&author{Name: "nothing", Tiny: pointer[int8](9)})
		return done.RowsAffected, done.Error
	})
	s.step("first or create", func() (any, error) {
		var one author
		done := s.db.Where(author{Name: "found"}).FirstOrCreate(&one)
		return done.RowsAffected, done.Error
	})
	s.step("soft delete", func() (any, error) {
		done := s.db.Where("title LIKE ?", "many 1%").Delete(&book{})
		var left, all int64
		s.db.Model(&book{}).Count(&left)
		s.db.Unscoped().Model(&book{}).Count(&all)
		return []any{done.RowsAffected, left, all}, done.Error
	})
	s.step("in parts", func() (any, error) {
		var books []book
		sum := 0
		done := s.db.FindInBatches(&books, 50, func(*gorm.DB, int) error {
			sum += len(books)
			return nil
		})
		return sum, done.Error
	})
	s.step("locked", func() (any, error) {
		var found author
		err := s.db.Transaction(func(tx *gorm.DB) error {
			return tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&found, "name = ?", "nothing").Error
		})
		return found.Name, err
	})
}

// value is what a pointer points to.
func value[T any](pointer *T) any {
	if pointer == nil {
		return nil
	}
	return *pointer
}

func (s *suite) transactions() {
	onPurpose := errors.New("on purpose")
	s.step("transaction, committed", func() (any, error) {
		return nil, s.db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Create(&author{Name: "outer"}).Error; err != nil {
				return err
			}
			inner := tx.Transaction(func(tx *gorm.DB) error {
				tx.Create(&author{Name: "undone"})
				return onPurpose
			})
			if !errors.Is(inner, onPurpose) {
				return fmt.Errorf("the inner one: %w", inner)
			}
			return tx.Transaction(func(tx *gorm.DB) error { return tx.Create(&author{Name: "inner"}).Error })
		})
	})
	s.step("transaction, rolled back", func() (any, error) {
		return nil, s.db.Transaction(func(tx *gorm.DB) error {
			tx.Create(&author{Name: "lost"})
			return onPurpose
		})
	})
	s.step("transaction, by hand", func() (any, error) {
		tx := s.db.Begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
		tx.Create(&author{Name: "by hand"})
		tx.SavePoint("one")
		tx.Create(&author{Name: "after one"})
		tx.RollbackTo("one")
		return nil, tx.Commit().Error
	})
	s.step("transaction, an error inside", func() (any, error) {
		return nil, s.db.Transaction(func(tx *gorm.DB) error {
			if err := tx.Create(&author{Name: "by hand"}).Error; err == nil {
				return errors.New("accepted")
			}
			return tx.Create(&author{Name: "on with it"}).Error
		})
	})
	s.step("transactions, there", func() (any, error) { return s.names(s.db) })
}

func (s *suite) mistakes() {
	s.step("duplicate", func() (any, error) { return nil, s.db.Create(&author{Name: "nothing"}).Error })
	s.step("too long", func() (any, error) {
		return nil, s.db.Create(&author{Name: strings.Repeat("x", 101)}).Error
	})
	s.step("no table", func() (any, error) { return nil, s.db.Exec("DELETE FROM nowhere").Error })
	s.step("not found", func() (any, error) { return nil, s.db.First(&author{}, "name = ?", "nobody").Error })
	s.step("foreign key", func() (any, error) { return nil, s.db.Create(&book{Title: "lonely", AuthorID: 1 << 40}).Error })
}
