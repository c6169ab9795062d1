package envdir

import (
	"fmt"

	"runtimed/internal/safefile"
	"runtimed/pool/builder"
)

// Room says why there is no room for one more environment of the size next, beside those of the size total: less than
// minFree bytes are free, or all would take more than maxSize (0: no limit).
func (s Store) Room(minFree, maxSize, total, next int64) error {
	free, err := FreeSpace(s.Dir)
	if err != nil {
		return DiskError(err)
	}
	if free < minFree {
		return &builder.Error{
			Cause: builder.CauseDiskFull,
			Message: fmt.Sprintf("%s free under %s, less than the %s that build.min_free asks for",
				safefile.Size(free), s.Dir, safefile.Size(minFree)),
			Hint: "free some space, or lower build.min_free in the configuration",
		}
	}
	if maxSize > 0 && total+next > maxSize {
		return &builder.Error{
			Cause: builder.CauseDiskFull,
			Message: fmt.Sprintf("the environments take %s, and one more would pass the %s of build.max_size",
				safefile.Size(total), safefile.Size(maxSize)),
			Hint: "release environments (runt env list shows them), or raise build.max_size in the configuration",
		}
	}
	return nil
}
