"""The model: what adds, what does not, and what counts once."""

from __future__ import annotations

import sys

from harness import ROOT, Case

sys.path.insert(0, str(ROOT / "scripts"))
from bigmalloc_tool import merge, model, outliers, units, watch
from bigmalloc_tool.model import Figures, Gauge, Place, Pool, Process, SizeClass

MIB = 1 << 20


def figures(allocated: int = 0, freed: int = 0, peak: int = 0, **counters: int) -> Figures:
    return Figures({"allocated_bytes": Gauge.of_one(allocated, freed, peak)}, counters)


def process(pid: int, one: Figures, place: Place | None = None, **more: object) -> Process:
    pools = (Pool(place or Place("host", 0, "here"), one),)
    return Process(pid, "python", pools, start_ticks=pid, **{"host": "here", **more})  # type: ignore[arg-type]


class Sums(Case):
    def test_bytes_add_and_peaks_do_not(self) -> None:
        both = Gauge.of_one(10, 4, 8) + Gauge.of_one(5, 5, 5)
        self.assertEqual(both, Gauge(allocated=15, freed=9, peak=8, peak_bound=13))
        self.assertEqual(both.current, 6)

    def test_a_sum_is_the_same_in_any_order_and_grouping(self) -> None:
        parts = [
            Figures({"a": Gauge.of_one(n, 1, n)}, {"x": n}, {MIB << n % 2: SizeClass(MIB << n % 2, n, 1)}, n)
            for n in range(1, 6)
        ]
        whole = model.total(parts)
        self.assertEqual(whole, model.total(reversed(parts)))
        self.assertEqual(whole, model.total(parts[:2]) + model.total(parts[2:]))
        self.assertEqual((whole.hits, whole.misses, whole.count("x"), whole.idle_bytes), (15, 5, 15, 15))

    def test_current_is_never_negative(self) -> None:
        self.assertEqual(Gauge.of_one(3, 5, 3).current, 0)

    def test_requests_are_hits_misses_failures_and_those_passed_on(self) -> None:
        one = Figures({}, {"failures": 2, "passed": 3}, {MIB: SizeClass(MIB, 10, 5)})
        self.assertEqual(one.requests, 20)
        self.assertEqual(one.hit_ratio, 0.5)

    def test_what_realloc_and_fork_added_was_not_asked_for_by_requests(self) -> None:
        one = Figures({"requested_bytes": Gauge.of_one(100, 0, 100)}, {"grown_bytes": 20, "inherited_bytes": 30})
        self.assertEqual(one.asked_bytes, 50)

    def test_a_difference_has_the_flow_of_between_and_the_levels_of_now(self) -> None:
        before = Figures({"g": Gauge.of_one(10, 5, 7)}, {"c": 3}, {MIB: SizeClass(MIB, 1, 1, 4)}, 4)
        now = Figures({"g": Gauge.of_one(30, 10, 20)}, {"c": 8}, {MIB: SizeClass(MIB, 6, 2, 9)}, 9)
        growth = now.since(before)
        self.assertEqual(growth.gauge("g"), Gauge(20, 5, 20, 20))
        self.assertEqual((growth.count("c"), growth.hits, growth.misses, growth.idle_bytes), (5, 5, 1, 9))

    def test_a_difference_is_never_negative(self) -> None:
        self.assertEqual(figures(x=1).since(figures(x=2)).count("x"), 0)


class Places(Case):
    def test_devices_are_the_same_where_their_uuids_are_whatever_their_numbers(self) -> None:
        pools = [Pool(Place("device", n, host, "GPU-1"), figures(10, 0, 10)) for n, host in enumerate("ab")]
        merged = model.by_place(pools)
        self.assertEqual(len(merged), 1)
        self.assertEqual(merged[0].figures.live_bytes, 20)

    def test_nodes_of_two_machines_are_two_places(self) -> None:
        pools = [Pool(Place("host", 0, host), figures(10, 0, 10)) for host in "ab"]
        self.assertEqual(len(model.by_place(pools)), 2)

    def test_pinned_memory_and_device_memory_of_one_device_are_two_places(self) -> None:
        pools = [Pool(Place(kind, 0, "a", "GPU-1"), figures(1, 0, 1)) for kind in ("pinned", "device")]
        self.assertEqual([pool.place.kind for pool in model.by_place(pools)], ["pinned", "device"])


class Shared(Case):
    def test_what_children_share_with_their_parent_counts_once(self) -> None:
        parent = process(1, figures(100, 0, 100))
        children = [process(n, figures(100, 0, 100, inherited_bytes=100)) for n in (2, 3)]
        self.assertEqual(model.counted_twice([parent, *children]), 200)
        self.assertEqual(merge.merged([parent, *children]).live_bytes, 100)

    def test_one_of_the_children_counts_where_the_parent_left_nothing(self) -> None:
        children = [process(n, figures(100, 0, 100, inherited_bytes=100)) for n in (2, 3)]
        self.assertEqual(model.counted_twice(children), 100)

    def test_what_a_child_has_freed_is_not_shared(self) -> None:
        parent, child = process(1, figures(100, 0, 100)), process(2, figures(100, 70, 100, inherited_bytes=100))
        self.assertEqual(model.counted_twice([parent, child]), 30)

    def test_the_peak_of_all_is_between_the_largest_and_the_sum(self) -> None:
        merged = merge.merged([process(1, figures(0, 0, 70)), process(2, figures(0, 0, 50))])
        self.assertEqual((merged.largest_peak, merged.peak_bound), (70, 120))


class Merging(Case):
    def test_of_several_dumps_of_a_process_the_last_one_counts(self) -> None:
        dumps = [process(1, figures(n, 0, n), time_unix_us=n) for n in (5, 9, 7)]
        merged = merge.merged(dumps)
        self.assertEqual([one.figures.live_bytes for one in merged.processes], [9])

    def test_a_process_of_another_boot_or_start_is_another_one(self) -> None:
        one = process(1, figures(1, 0, 1), boot_id="x")
        self.assertEqual(len(merge.latest([one, process(1, figures(1, 0, 1), boot_id="y")])), 2)

    def test_a_rank_that_works_more_than_the_others_stands_out(self) -> None:
        ranks = [process(n, figures(miss_us=200_000 if n != 3 else 2_000_000), rank=n) for n in range(8)]
        found = [(one.process.rank, one.what) for one in merge.merged(ranks).outliers]
        self.assertEqual(found, [(3, "time in misses")])

    def test_the_children_of_ranks_are_not_compared_with_ranks(self) -> None:
        ranks = [process(n, figures(0, 0, 900 * MIB), rank=n) for n in range(4)]
        children = [process(10 + n, figures(0, 0, 100 * MIB, inherited_bytes=1), rank=n) for n in range(4)]
        self.assertEqual(merge.merged([*ranks, *children]).outliers, ())

    def test_children_that_were_not_forked_are_told_from_their_rank_by_coming_later(self) -> None:
        ranks = [process(n, figures(0, 0, 900 * MIB), rank=n) for n in range(4)]
        spawned = [process(10 + n, figures(0, 0, 100 * MIB), rank=n) for n in range(3)]
        self.assertEqual(merge.merged([*ranks, *spawned]).outliers, ())


class Outliers(Case):
    def test_what_is_far_from_the_median_stands_out(self) -> None:
        self.assertEqual(outliers.find([100, 102, 98, 101, 500], 10), [4])

    def test_of_two_values_none_stands_out(self) -> None:
        self.assertEqual(outliers.find([1, 1000], 1), [])

    def test_what_scatters_evenly_has_no_outlier(self) -> None:
        self.assertEqual(outliers.find([10, 20, 30, 40, 50, 60], 1), [])

    def test_where_most_are_the_same_a_quarter_off_is_needed(self) -> None:
        self.assertEqual(outliers.find([100, 100, 100, 124], 1), [])
        self.assertEqual(outliers.find([100, 100, 100, 126], 1), [3])

    def test_what_nobody_would_care_for_is_none(self) -> None:
        self.assertEqual(outliers.find([0, 0, 0, 5], 10), [])


class Watching(Case):
    def seen(self, taken_s: float, hits: int) -> Process:
        one = Figures({}, {}, {MIB: SizeClass(MIB, hits)})
        return process(1, one, taken_s=taken_s, started_us=10_000_000)

    def test_the_first_look_tells_the_mean_since_the_start(self) -> None:
        view = watch.Watch().look([self.seen(14, hits=20)])[0]
        self.assertEqual((view.seconds, view.requests_rate), (4, 5))

    def test_the_next_one_tells_what_came_since_the_last(self) -> None:
        looks = watch.Watch()
        looks.look([self.seen(14, hits=20)])
        view = looks.look([self.seen(16.5, hits=25)])[0]
        self.assertEqual((view.seconds, view.requests_rate), (2.5, 2))


class Units(Case):
    def test_bytes_have_three_digits_and_a_unit(self) -> None:
        told = [units.bytes_text(n) for n in (0, 1, 999, 1000, 1536, 99.95 * 1024, 10 * MIB, 1023 * MIB, 1 << 60)]
        self.assertEqual(
            told, ["0 B", "1 B", "999 B", "0.98 KiB", "1.50 KiB", "100 KiB", "10.0 MiB", "1.00 GiB", "1.00 EiB"]
        )

    def test_a_percentage_is_never_rounded_up_to_all(self) -> None:
        told = [units.percent_text(*pair) for pair in ((9999, 10000), (1, 1), (0, 5), (0, 0))]
        self.assertEqual(told, ["99.9 %", "100.0 %", "0.0 %", "-"])

    def test_rates_times_and_durations(self) -> None:
        self.assertEqual([units.rate_text(n) for n in (0, 0.01, 3.14, 12345.6)], ["0", "<0.1", "3.1", "12 346"])
        self.assertEqual([units.micros_text(n) for n in (0, 7, 1500, 2.5e6)], ["0 us", "7.00 us", "1.50 ms", "2.50 s"])
        self.assertEqual(
            [units.duration_text(n) for n in (5, 65, 3700, 90000)], ["5 s", "1 min 05 s", "1 h 01 min", "1 d 1 h"]
        )
