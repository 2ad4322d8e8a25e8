-- Who leaves a list early cannot be found in it: the entry stays there and is counted as a ghost, for each list apart, and
-- whoever comes to it drops it.
local function ghost_of(id, of_solo) return (of_solo and '!' or '') .. id end
