// Evaluates queries with Prometheus' own engine, for tests/promql_peer.rs: a JSON object a line comes in and goes out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

type point struct {
	T int64  `json:"t"`
	V string `json:"v"`
}

type series struct {
	Labels map[string]string `json:"labels"`
	Points []point           `json:"points"`
}

// Either series, which take the place of those before, or a query. Times in milliseconds; a step of 0 is an instant.
type request struct {
	Series []series `json:"series,omitempty"`
	Expr   string   `json:"expr,omitempty"`
	Start  int64    `json:"start"`
	End    int64    `json:"end"`
	Step   int64    `json:"step"`
}

type answer struct {
	Type     string   `json:"type"`
	Series   []series `json:"series"`
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
	Error    string   `json:"error"`
}

// In memory, in order of their labels, as in a block.
type queryable struct{ series []promql.Series }

func (q *queryable) Querier(int64, int64) (storage.Querier, error) { return &querier{q}, nil }

type querier struct{ q *queryable }

func (*querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (*querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (*querier) Close() error { return nil }

func (q *querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	set := &seriesSet{next: -1}
next:
	for _, s := range q.q.series {
		for _, m := range matchers {
			if !m.Matches(s.Metric.Get(m.Name)) {
				continue next
			}
		}
		set.found = append(set.found, s)
	}
	return set
}

type seriesSet struct {
	found []promql.Series
	next  int
}

func (s *seriesSet) Next() bool                      { s.next++; return s.next < len(s.found) }
func (s *seriesSet) At() storage.Series              { return promql.NewStorageSeries(s.found[s.next]) }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

func load(in []series) *queryable {
	q := &queryable{}
	for _, s := range in {
		floats := make([]promql.FPoint, 0, len(s.Points))
		for _, p := range s.Points {
			f := math.Float64frombits(value.StaleNaN)
			if p.V != "stale" {
				f, _ = strconv.ParseFloat(p.V, 64)
			}
			floats = append(floats, promql.FPoint{T: p.T, F: f})
		}
		q.series = append(q.series, promql.Series{Metric: labels.FromMap(s.Labels), Floats: floats})
	}
	slices.SortFunc(q.series, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return q
}

func one(t int64, f float64) []point {
	return []point{{t, strconv.FormatFloat(f, 'g', -1, 64)}}
}

func evaluate(engine *promql.Engine, q *queryable, r request) (out answer) {
	ctx := context.Background()
	var query promql.Query
	var err error
	if r.Step == 0 {
		query, err = engine.NewInstantQuery(ctx, q, nil, r.Expr, time.UnixMilli(r.Start))
	} else {
		step := time.Duration(r.Step) * time.Millisecond
		query, err = engine.NewRangeQuery(ctx, q, nil, r.Expr, time.UnixMilli(r.Start), time.UnixMilli(r.End), step)
	}
	if err != nil {
		out.Error = err.Error()
		return out
	}
	defer query.Close()
	result := query.Exec(ctx)
	out.Warnings, out.Infos = result.Warnings.AsStrings(r.Expr, 10, 10)
	if result.Err != nil {
		out.Error = result.Err.Error()
		return out
	}
	out.Type = string(result.Value.Type())
	switch v := result.Value.(type) {
	case promql.Scalar:
		out.Series = []series{{Points: one(v.T, v.V)}}
	case promql.String:
		out.Series = []series{{Points: []point{{v.T, v.V}}}}
	case promql.Vector:
		for _, s := range v {
			out.Series = append(out.Series, series{s.Metric.Map(), one(s.T, s.F)})
		}
	case promql.Matrix:
		for _, s := range v {
			m := series{Labels: s.Metric.Map()}
			for _, p := range s.Floats {
				m.Points = append(m.Points, one(p.T, p.F)...)
			}
			out.Series = append(out.Series, m)
		}
	}
	return out
}

func main() {
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples:               50_000_000,
		Timeout:                  time.Minute,
		LookbackDelta:            5 * time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		Parser:                   parser.NewParser(parser.Options{EnableExperimentalFunctions: true, EnableBinopFillModifiers: true}),
	})
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	decoder := json.NewDecoder(in)
	buffered := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(buffered)
	q := &queryable{}
	for {
		var r request
		if decoder.Decode(&r) != nil {
			return
		}
		if r.Expr == "" {
			q = load(r.Series)
			continue
		}
		if encoder.Encode(evaluate(engine, q, r)) != nil || buffered.Flush() != nil {
			return
		}
	}
}
