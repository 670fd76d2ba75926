"""
Amounts in a currency's minor unit (cents), written in its major one. Decimals only, never floats.

How many digits the minor unit has is ISO 4217's; where payment providers do not keep to it,
nobody can say from the request alone, and nothing is converted.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")

_TWO: Final = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF"
    " CNY COP CRC CUP CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF ILS"
    " INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN"
    " NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD"
    " SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD YER ZAR ZMW"
)
_NONE: Final = "BIF DJF GNF JPY KMF KRW PYG RWF VND VUV XAF XOF XPF"
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
# Left out: CLP CVE IDR ISK MGA UGX, in which one provider's minor unit is a hundred times another's.

PLACES: Final = {
    code: places for places, codes in ((2, _TWO), (0, _NONE), (3, _THREE)) for code in codes.split()
}
"""Digits after the point, by currency; only currencies about which providers agree."""


def in_major_unit(amount: str, currency: str) -> str | None:
    """
    ``9000`` and ``eur`` are ``90.00 EUR``.

    None where the amount is no whole number, or nobody can say what its unit is.
    """
    code = currency.upper()
    places = PLACES.get(code)
    if places is None or not _WHOLE.fullmatch(amount):
        return None
    return f"{format(Decimal(amount).scaleb(-places), 'f')} {code}"
