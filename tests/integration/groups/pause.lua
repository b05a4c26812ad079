-- Copyright: (c) 2026, kiln.immutable contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- A load that leaves the machine time for what is tried: the first argument is the milliseconds
-- between an answer and the next request of its connection.
function init(arguments)
  pause = tonumber(arguments[1])
end

function delay()
  return pause
end
