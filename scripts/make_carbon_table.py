"""Make the package's compact table of carbon intensities from Ember's data.

    python scripts/make_carbon_table.py FOLDER [TABLE]

FOLDER holds three CSV files: ``derived_country_yearly.csv`` (iso3, country, year, gco2e_per_kwh),
``derived_country_monthly.csv`` (the same and month) and ``derived_usa_state_monthly.csv`` (state, year, month,
gco2e_per_kwh). TABLE is by default the one in the package. Same files, same bytes.

Three decisions, each because of a trap in the data:

- The level of a country comes from the yearly file and only the shape of its year from the monthly one, because the
  two disagree (Sweden 2024: monthly is 0.65 of yearly). A state has no yearly file: the mean of its twelve months.
- An exact 0 is missing data, never a clean grid.
- Only years with all twelve months have a shape, and a zone needs three such years from 2020 to 2024.

The spread is what the years themselves did: ``level_low`` and ``level_high`` are the lowest and highest yearly levels
of the five years up to the latest; ``m01_low`` and ``m01_high`` the lowest and highest January / mean of that year.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from lichen.carbon.years import Monthly, Yearly, level, seasonal_index, yearly_means

ATTRIBUTION = (
    "Electricity carbon intensity: Ember, Monthly and Yearly Electricity Data, CC BY 4.0 (https://ember-energy.org). "
    "Selection and format changed."
)
INDEX_YEARS = range(2020, 2025)
TABLE = Path(__file__).resolve().parents[1] / "src" / "lichen" / "carbon" / "intensity.csv"

# ISO 3166-1 alpha-3 to alpha-2, for the countries in the data; made once with pycountry 26.2. Kosovo has no ISO code:
# XKX and XK are the user-assigned ones that the European Union and Ember use.
_COUNTRY_CODES = """
ABW:AW AFG:AF AGO:AO ALB:AL ARE:AE ARG:AR ARM:AM ASM:AS ATG:AG AUS:AU AUT:AT AZE:AZ BDI:BI BEL:BE BEN:BJ BFA:BF
BGD:BD BGR:BG BHR:BH BHS:BS BIH:BA BLR:BY BLZ:BZ BOL:BO BRA:BR BRB:BB BRN:BN BTN:BT BWA:BW CAF:CF CAN:CA CHE:CH
CHL:CL CHN:CN CIV:CI CMR:CM COD:CD COG:CG COK:CK COL:CO COM:KM CPV:CV CRI:CR CUB:CU CYM:KY CYP:CY CZE:CZ DEU:DE
DJI:DJ DMA:DM DNK:DK DOM:DO DZA:DZ ECU:EC EGY:EG ERI:ER ESP:ES EST:EE ETH:ET FIN:FI FJI:FJ FLK:FK FRA:FR FRO:FO
GAB:GA GBR:GB GEO:GE GHA:GH GIN:GN GLP:GP GMB:GM GNB:GW GNQ:GQ GRC:GR GRD:GD GRL:GL GTM:GT GUF:GF GUM:GU GUY:GY
HKG:HK HND:HN HRV:HR HTI:HT HUN:HU IDN:ID IND:IN IRL:IE IRN:IR IRQ:IQ ISL:IS ISR:IL ITA:IT JAM:JM JOR:JO JPN:JP
KAZ:KZ KEN:KE KGZ:KG KHM:KH KIR:KI KNA:KN KOR:KR KWT:KW LAO:LA LBN:LB LBR:LR LBY:LY LCA:LC LKA:LK LSO:LS LTU:LT
LUX:LU LVA:LV MAC:MO MAR:MA MDA:MD MDG:MG MDV:MV MEX:MX MKD:MK MLI:ML MLT:MT MMR:MM MNE:ME MNG:MN MOZ:MZ MRT:MR
MSR:MS MTQ:MQ MUS:MU MWI:MW MYS:MY NAM:NA NCL:NC NER:NE NGA:NG NIC:NI NLD:NL NOR:NO NPL:NP NRU:NR NZL:NZ OMN:OM
PAK:PK PAN:PA PER:PE PHL:PH PNG:PG POL:PL PRI:PR PRK:KP PRT:PT PRY:PY PSE:PS PYF:PF QAT:QA REU:RE ROU:RO RUS:RU
RWA:RW SAU:SA SDN:SD SEN:SN SGP:SG SLB:SB SLE:SL SLV:SV SOM:SO SPM:PM SRB:RS SSD:SS STP:ST SUR:SR SVK:SK SVN:SI
SWE:SE SWZ:SZ SYC:SC SYR:SY TCA:TC TCD:TD TGO:TG THA:TH TJK:TJ TKM:TM TON:TO TTO:TT TUN:TN TUR:TR TWN:TW TZA:TZ
UGA:UG UKR:UA URY:UY USA:US UZB:UZ VCT:VC VEN:VE VGB:VG VIR:VI VNM:VN VUT:VU WSM:WS XKX:XK YEM:YE ZAF:ZA ZMB:ZM
ZWE:ZW
"""
ALPHA2 = dict(pair.split(":") for pair in _COUNTRY_CODES.split())

# The 50 states and the capital; Puerto Rico is in the file of countries.
_STATE_CODES = """
AL Alabama;AK Alaska;AZ Arizona;AR Arkansas;CA California;CO Colorado;CT Connecticut;DE Delaware;FL Florida;GA Georgia
HI Hawaii;ID Idaho;IL Illinois;IN Indiana;IA Iowa;KS Kansas;KY Kentucky;LA Louisiana;ME Maine;MD Maryland
MA Massachusetts;MI Michigan;MN Minnesota;MS Mississippi;MO Missouri;MT Montana;NE Nebraska;NV Nevada;NH New Hampshire
NJ New Jersey;NM New Mexico;NY New York;NC North Carolina;ND North Dakota;OH Ohio;OK Oklahoma;OR Oregon;PA Pennsylvania
RI Rhode Island;SC South Carolina;SD South Dakota;TN Tennessee;TX Texas;UT Utah;VT Vermont;VA Virginia;WA Washington
DC Washington, D.C.;WV West Virginia;WI Wisconsin;WY Wyoming
"""
STATES = dict(state.split(" ", maxsplit=1) for state in _STATE_CODES.strip().replace("\n", ";").split(";"))


def index_columns(monthly: Monthly) -> list[str]:
    """Mean, lowest and highest index of each month; 36 cells, or 36 blanks."""
    index = seasonal_index(monthly, INDEX_YEARS)
    if index is None:
        return [""] * 36
    return [f"{figure:.3f}" for month in index for figure in (month.estimate or 0.0, month.low, month.high)]


def level_columns(yearly: Yearly) -> list[str]:
    """The latest year, its level, and the lowest and highest level of the five years up to it."""
    year, g_per_kwh = level(yearly)
    return [str(year), *(f"{figure:.2f}" for figure in (g_per_kwh.estimate or 0.0, g_per_kwh.low, g_per_kwh.high))]


def header() -> list[str]:
    months = [f"m{month:02}{end}" for month in range(1, 13) for end in ("", "_low", "_high")]
    return ["zone", "iso3", "name", "year", "level", "level_low", "level_high", *months]


def table_rows(folder: Path) -> Iterable[list[str]]:
    """The rows of the table: countries, then states, each by code."""
    yearly: dict[str, Yearly] = defaultdict(dict)
    monthly: dict[str, Monthly] = defaultdict(dict)
    states: dict[str, Monthly] = defaultdict(dict)
    names: dict[str, str] = {}
    for row, value in read(folder / "derived_country_yearly.csv"):
        yearly[row["iso3"]][int(row["year"])] = value
        names[row["iso3"]] = row["country"]
    for row, value in read(folder / "derived_country_monthly.csv"):
        monthly[row["iso3"]][int(row["year"]), int(row["month"])] = value
    for row, value in read(folder / "derived_usa_state_monthly.csv"):
        states[row["state"]][int(row["year"]), int(row["month"])] = value
    for iso3 in sorted(yearly, key=lambda code: ALPHA2[code]):
        index = index_columns(monthly.get(iso3, {}))
        yield [ALPHA2[iso3], iso3, names[iso3], *level_columns(yearly[iso3]), *index]
    for code in sorted(STATES):
        months = states[STATES[code]]
        yield [f"US-{code}", "", f"{STATES[code]}, USA", *level_columns(yearly_means(months)), *index_columns(months)]


def read(path: Path) -> Iterable[tuple[dict[str, str], float]]:
    """Each row with its intensity in g/kWh; an exact 0 is missing and left out."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (value := float(row["gco2e_per_kwh"])) > 0:
                yield row, value


def make_table(folder: Path) -> str:
    """The whole table as text: attribution, what the columns are, header, rows."""
    text = io.StringIO()
    text.write(f"# {ATTRIBUTION}\n")
    text.write("# Life-cycle g CO2e per kWh of the production mix; m01 to m12: month / mean of its year, 2020-2024.\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header())
    writer.writerows(table_rows(folder))
    return text.getvalue()


def main() -> None:
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    target = Path(sys.argv[2]) if len(sys.argv) == 3 else TABLE
    target.write_text(make_table(Path(sys.argv[1])), encoding="utf-8", newline="\n")
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
