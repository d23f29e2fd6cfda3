"""What `bigmalloc` does beside starting programs: it reads what the library leaves, and shows it.

    __main__   the table of commands, and how each of them ends
    errors     the ways to fail: one line, and no traceback
    model      what is known of processes, pools and size classes: pure values, and sums and differences of them
    files      live files and JSON dumps made into the model; which processes there are
    top  changes  report  metrics  ...     a module for each command: views of the model

    trace      files of BIGMALLOC_TRACE: what they hold, and the events in them as they come
    history  timeline     blocks and call sites made of events; lines to draw made of samples
    elf  symbols          names for the addresses of call sites
    plot (story, panels)  pictures;  export (perfetto, rmm_csv, memory_viz, pickles, sites)  traces for others

Python 3.9 and newer, and its standard library alone. What the files say was written by others, maybe by
programs that died halfway or that mean harm: whoever reads checks sizes, and whoever prints, characters.
"""
