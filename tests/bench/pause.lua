-- Copyright: (c) 2026, kiln.immutable contributors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later

-- Milliseconds between an answer and the next request of its connection: a load that leaves the
-- machine time for what is measured.
function delay()
  return 20
end
