from tests.browser.lab import browser as browser
from tests.browser.lab import lab as lab
from tests.browser.lab import notebook_folder as notebook_folder
from tests.browser.lab import server as server
